"""Dead letters, redrives and wished cancels on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from letter_kit import row
from postgres import PrivatePostgres
from processes import free_port
from warren.envelope import new_job_id
from warren.events import Event, State
from warren_server.settings import StoreSettings
from warren_server.store.cancels import CancelStore
from warren_server.store.claims import Claim, Results
from warren_server.store.dead_letters import DeadLetterFilter, DeadLetterStore
from warren_server.store.engine import Database
from warren_server.store.jobs import JobStore
from warren_server.store.redrives import DONE, RUNNING, STOPPED, Redrive, RedriveStore

ALL = DeadLetterFilter()
LATER = 2**50


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(free_port())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgresql":
        server: PrivatePostgres = request.getfixturevalue("postgres")
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        url = server.url
    made = Database(StoreSettings.model_validate({"url": url}))
    yield made
    made.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def begun(database: Database, wanted: DeadLetterFilter = ALL) -> Redrive:
    redrive = Redrive(
        id=new_job_id(), state=RUNNING, wanted=wanted, rate=2.5, total=3, moved=0, failed=0, created_ms=now_ms(),
        finished_ms=None, error=None,
    )  # fmt: skip
    RedriveStore(database).create(redrive)
    return redrive


def test_a_redrive_is_kept_as_it_was_begun(database: Database) -> None:
    wanted = DeadLetterFilter(queue="q", reason="100%", since_ms=1, until_ms=2**41)
    redrive = begun(database, wanted)

    store = RedriveStore(database)

    assert store.get(redrive.id) == redrive
    assert store.list(10) == [redrive]
    assert store.get(new_job_id()) is None


def test_letters_are_found_by_every_part_of_a_filter(database: Database) -> None:
    store = DeadLetterStore(database)
    match = row(queue="media", task="resize", error="KeyError", reason="Ran out of 100%_", worker="w2", dead_ms=2000)
    store.add([match, row(dead_ms=1000), row(dead_ms=3000)])

    for wanted in (
        DeadLetterFilter(queue="media"),
        DeadLetterFilter(task="resize"),
        DeadLetterFilter(error="KeyError"),
        DeadLetterFilter(reason="ran OUT of 100%_"),
        DeadLetterFilter(worker="w2"),
        DeadLetterFilter(job=match["id"]),
        DeadLetterFilter(since_ms=2000, until_ms=3000),
        DeadLetterFilter(outcome="failed", queue="media"),
    ):
        assert [found["id"] for found in store.list(wanted, 10)] == [match["id"]], wanted
        assert store.count(wanted) == 1
    assert store.list(DeadLetterFilter(reason="100%0"), 10) == []
    groups = store.groups(ALL, 10)
    assert [(group["queue"], group["error_type"], group["letters"]) for group in groups] == [
        ("default", "ValueError", 2),
        ("media", "KeyError", 1),
    ]


def test_many_redrives_at_once_move_each_letter_once(database: Database) -> None:
    letters, redrives = DeadLetterStore(database), RedriveStore(database)
    letters.add([row() for _ in range(200)])
    running = [begun(database) for _ in range(4)]

    def drive(redrive: Redrive) -> list[str]:
        owner = f"server of {redrive.id}"
        assert redrives.adopt(owner, now_ms(), LATER) is not None
        mine = next(each for each in running if redrives.keep(each.id, owner, LATER))
        moved: list[str] = []
        while True:
            claim = Claim(holder=mine.id, until_ms=LATER)
            rows = redrives.claim(mine, owner, claim, now_ms=now_ms(), lease_ms=LATER, limit=7, after=None)
            assert rows is not None
            if not rows:
                redrives.finish(mine.id, owner, DONE, now_ms())
                return moved
            results = Results(moved={each["id"]: each["attempt"] for each in rows})
            redrives.close(mine.id, claim, results, now_ms(), None)
            moved += [each["id"] for each in rows]

    with ThreadPoolExecutor(4) as pool:
        moved = list(pool.map(drive, running))

    each_moved = [letter for letters_of_one in moved for letter in letters_of_one]
    assert len(set(each_moved)) == len(each_moved) == 200
    ended = [redrives.get(each.id) for each in running]
    assert sum(each.moved for each in ended if each) == 200
    assert {each.state for each in ended if each} == {DONE}
    assert letters.count(ALL) == 0


def test_a_claim_that_ended_counts_for_nothing(database: Database) -> None:
    letters, redrives = DeadLetterStore(database), RedriveStore(database)
    letter = row()
    letters.add([letter])
    redrive = begun(database)
    assert redrives.adopt("a", now_ms(), LATER)
    old, new = Claim(holder=redrive.id, until_ms=1000), Claim(holder=redrive.id, until_ms=LATER)
    assert redrives.claim(redrive, "a", old, now_ms=1, lease_ms=LATER, limit=5, after=None)
    assert redrives.pending(redrive.id)
    assert redrives.claim(redrive, "a", new, now_ms=900, lease_ms=LATER, limit=5, after=None) == []
    assert redrives.claim(redrive, "a", new, now_ms=1001, lease_ms=LATER, limit=5, after=None)

    redrives.close(redrive.id, old, Results(moved={letter["id"]: letter["attempt"]}), now_ms(), None)

    assert letters.count(ALL) == 1
    redrives.close(redrive.id, new, Results(moved={letter["id"]: letter["attempt"]}), now_ms(), None)
    assert letters.count(ALL) == 0
    assert not redrives.pending(redrive.id)
    found = redrives.get(redrive.id)
    assert found is not None
    assert found.moved == 1


def test_a_job_that_died_again_before_its_letter_was_gone_is_counted_and_its_new_letter_stays(
    database: Database,
) -> None:
    letters, redrives = DeadLetterStore(database), RedriveStore(database)
    job = new_job_id()
    letters.add([row(job, attempt=5)])
    redrive = begun(database)
    assert redrives.adopt("a", now_ms(), LATER)
    claim = Claim(holder=redrive.id, until_ms=LATER)
    assert redrives.claim(redrive, "a", claim, now_ms=now_ms(), lease_ms=LATER, limit=5, after=None)

    letters.add([row(job, attempt=6, round=1, dead_ms=9000)])
    redrives.close(redrive.id, claim, Results(moved={job: 5}), now_ms(), "odd")

    found = redrives.get(redrive.id)
    assert found is not None
    assert (found.moved, found.error) == (1, "odd")
    assert [each["attempt"] for each in letters.list(ALL, 10)] == [6]


def test_letters_released_come_again_and_failed_ones_do_not(database: Database) -> None:
    letters, redrives = DeadLetterStore(database), RedriveStore(database)
    rows = [row(dead_ms=1000 + number) for number in range(3)]
    letters.add(rows)
    redrive = begun(database)
    assert redrives.adopt("a", now_ms(), LATER)
    claim = Claim(holder=redrive.id, until_ms=LATER)
    first, second, third = (each["id"] for each in rows)

    got = redrives.claim(redrive, "a", claim, now_ms=now_ms(), lease_ms=LATER, limit=2, after=None)
    assert [each["id"] for each in got or ()] == [first, second]
    redrives.close(redrive.id, claim, Results(failed=[first], released=[second]), now_ms(), "x" * 5000)
    after = (rows[1]["at_ms"], second)
    got = redrives.claim(redrive, "a", claim, now_ms=now_ms(), lease_ms=LATER, limit=5, after=after)
    assert [each["id"] for each in got or ()] == [third]
    got = redrives.claim(redrive, "a", claim, now_ms=now_ms(), lease_ms=LATER, limit=5, after=None)
    assert [each["id"] for each in got or ()] == [second]

    found = redrives.get(redrive.id)
    assert found is not None
    assert (found.failed, len(found.error or "")) == (1, 1000)
    other = Claim(holder=new_job_id(), until_ms=LATER)
    assert letters.claim(first, other, now_ms()) is not None
    assert letters.claim(third, other, now_ms()) is None
    letters.close(other, Results(released=[first]), now_ms())
    assert letters.purge(ALL, LATER, now_ms(), 10) == 1


def test_a_stopped_redrive_gives_its_owner_nothing_more(database: Database) -> None:
    letters, redrives = DeadLetterStore(database), RedriveStore(database)
    letters.add([row()])
    redrive = begun(database)
    assert redrives.adopt("a", now_ms(), LATER)

    redrives.stop(redrive.id, now_ms())
    redrives.stop(redrive.id, now_ms())

    claim = Claim(holder=redrive.id, until_ms=LATER)
    assert redrives.claim(redrive, "a", claim, now_ms=1, lease_ms=LATER, limit=5, after=None) is None
    assert not redrives.keep(redrive.id, "a", LATER)
    redrives.finish(redrive.id, "a", DONE, now_ms())
    found = redrives.get(redrive.id)
    assert found is not None
    assert found.state == STOPPED
    assert redrives.adopt("b", LATER, LATER) is None


def test_tombstones_hold_no_content_and_are_forgotten_in_time(database: Database) -> None:
    letters = DeadLetterStore(database)
    rows = [row(), row()]
    letters.add(rows)

    assert letters.purge_one(rows[0]["id"], 1000)
    assert not letters.purge_one(rows[0]["id"], 1000)
    letters.add(rows)

    assert letters.get(rows[0]["id"]) is None
    assert [each["id"] for each in letters.list(ALL, 10)] == [rows[1]["id"]]
    assert letters.forget(1000, 10) == 0
    assert letters.forget(1001, 10) == 1


def test_a_cancel_is_noted_once_on_what_is_not_final(database: Database) -> None:
    jobs, cancels = JobStore(database), CancelStore(database)
    ids = sorted(new_job_id() for _ in range(1200))
    jobs.record([_event(job, State.QUEUED) for job in ids])
    jobs.project([_event(job, State.SUCCEEDED, attempt=1) for job in ids[:10]])

    assert cancels.final(ids) == set(ids[:10])
    cancels.mark(ids[:50], 7)
    first = cancels.mark_matching("q", None, 1000, waiting_only=False, now_ms=8, after="")
    second = cancels.mark_matching("q", None, 1000, waiting_only=False, now_ms=8, after=first[-1])

    assert (len(first), len(second)) == (1000, 150)
    assert cancels.mark_matching("q", "t", 1000, waiting_only=True, now_ms=9, after="") == []
    noted = [_noted(jobs, job) for job in (ids[0], ids[10], ids[49], ids[50], ids[-1])]
    assert noted == [None, 7, 7, 8, 8]


def test_noting_cancels_and_projecting_events_do_not_block_each_other_for_ever(database: Database) -> None:
    jobs, cancels = JobStore(database), CancelStore(database)
    ids = [new_job_id() for _ in range(200)]
    jobs.record([_event(job, State.QUEUED) for job in ids])

    def project(attempt: int) -> None:
        jobs.project([_event(job, State.RUNNING, attempt=attempt, started_ms=1) for job in ids])

    def mark(now: int) -> None:
        cancels.mark(ids[::-1], now)
        cancels.mark_matching("q", None, LATER, waiting_only=False, now_ms=now, after="")

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(call, number) for number in range(1, 8) for call in (project, mark)]:
            future.result(60)

    assert all(_noted(jobs, job) for job in ids)


def _event(job: str, state: State, attempt: int = 0, **fields: int) -> Event:
    return Event(job=job, state=state, attempt=attempt, at_ms=1000, task="t", queue="q", enqueued_ms=1000, **fields)  # type: ignore[arg-type]


def _noted(jobs: JobStore, job: str) -> int | None:
    found = jobs.get(job)
    assert found is not None
    noted: int | None = found[0]["cancel_requested_ms"]
    return noted
