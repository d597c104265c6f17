"""Dead letters come from the broker in any order, more than once, and in batches of any size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server_kit import database
from warren.envelope import Envelope, encode
from warren.events import ErrorInfo
from warren_server.dead import dead_event, dead_row
from warren_server.store.dead_letters import DeadLetterStore
from warren_server.store.engine import Database
from warren_server.store.fold import Row, fold
from warren_worker.dead import Death, dead_letter

_runs = itertools.count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = database(Path(tmp_path_factory.mktemp("letters")))
    yield made
    made.close()


def message(job: str, attempt: int, dead_ms: int) -> Any:
    death = Death(
        reason=f"failed {attempt} times",
        outcome="failed",
        error=ErrorInfo(type="ValueError", message=f"at {dead_ms}"),
        worker="pod-1",
        dead_ms=dead_ms,
        attempt=attempt,
    )
    envelope = Envelope(id=job, task="greet", queue="default", enqueued_ms=1, attempt=attempt, round=attempt // 3)
    return dead_letter(encode(envelope), death).message


deaths = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(1, 4)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deaths, st.data())
def test_the_same_letters_are_kept_whatever_way_they_come(
    store: Database, happened: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    letters = DeadLetterStore(store)

    def kept(order: list[tuple[int, int, int]], cuts: list[int]) -> list[Row | None]:
        # Ids of their own for each time, in one database.
        ids = [f"00000000-0000-7000-8000-{next(_runs):012d}" for _ in range(3)]
        messages = [message(ids[job], attempt, dead_ms) for job, attempt, dead_ms in order]
        for start, end in itertools.pairwise([0, *sorted(cuts), len(order)]):
            if start < end:
                letters.add([dead_row(each) for each in messages[start:end]])
        rows = [letters.get(job) for job in ids]
        return [row and _without(row, "id", "job", "message", "stored_ms") for row in rows]

    again = data.draw(st.permutations([*happened, *data.draw(st.lists(st.sampled_from(happened), max_size=4))]))
    cuts = data.draw(st.lists(st.integers(0, len(again)), max_size=3))

    assert kept(again, cuts) == kept(happened, [])


@given(deaths, st.data())
def test_the_events_of_dead_letters_end_in_the_same_rows(
    happened: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    events = [dead_event(message(f"00000000-0000-7000-8000-{job:012d}", *rest)) for job, *rest in happened]
    known = [event for event in events if event is not None]
    assert len(known) == len(happened)

    again = data.draw(st.permutations([*known, *data.draw(st.lists(st.sampled_from(known), max_size=4))]))

    assert fold({}, {}, again) == fold({}, {}, known)


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
