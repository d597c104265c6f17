from __future__ import annotations

import hashlib
from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from warren.events import ErrorInfo, Event, State, position
from warren_server.store.fold import fold, rank

MOMENTS = st.integers(1, 50)
TEXTS = st.sampled_from([None, "a", "b"])
EVENTS = st.builds(
    Event,
    job=st.sampled_from(["j1", "j2"]),
    state=st.sampled_from(State),
    attempt=st.integers(0, 4),
    at_ms=MOMENTS,
    task=st.sampled_from(["t", "u"]),
    queue=st.sampled_from(["q", "r"]),
    enqueued_ms=MOMENTS,
    worker=st.sampled_from(["", "w1", "w2"]),
    started_ms=st.none() | MOMENTS,
    max_attempts=st.none() | st.integers(1, 9),
    retry_at_ms=st.none() | MOMENTS,
    progress=st.none() | st.sampled_from([0, 0.5, 1]),
    progress_message=TEXTS,
    result=TEXTS,
    outcome=TEXTS,
    error=st.none() | st.builds(ErrorInfo, type=st.sampled_from("EF"), message=st.just("m")),
    tenant=TEXTS,
    redelivered=st.booleans(),
    round=st.integers(0, 3),
)


def event(state: State, attempt: int, at_ms: int, **fields: object) -> Event:
    return Event(
        **{  # type: ignore[arg-type]
            "job": "j1",
            "state": state,
            "attempt": attempt,
            "at_ms": at_ms,
            "task": "t",
            "queue": "q",
            "enqueued_ms": 1,
            **fields,
        }
    )


@given(EVENTS)
def test_the_place_of_an_event_is_the_one_that_rows_written_before_hold(told: Event) -> None:
    digest = hashlib.blake2b(repr(astuple(told)).encode("utf-8", "replace"), digest_size=16).hexdigest()

    assert rank(told) == (position(told.state, told.attempt, told.round), told.at_ms, digest)


@given(st.lists(EVENTS, max_size=12), st.data())
def test_any_order_and_any_repetition_end_in_the_same_rows(events: list[Event], data: st.DataObject) -> None:
    again = data.draw(
        st.permutations([*events, *data.draw(st.lists(st.sampled_from(events)) if events else st.just([]))])
    )

    assert fold({}, {}, again) == fold({}, {}, events)


@given(st.lists(EVENTS, max_size=12), st.integers(0, 12))
def test_batches_of_any_size_end_in_the_same_rows(events: list[Event], cut: int) -> None:
    jobs, attempts = fold({}, {}, events[:cut])
    more_jobs, more_attempts = fold(jobs, attempts, events[cut:])

    assert ({**jobs, **more_jobs}, {**attempts, **more_attempts}) == fold({}, {}, events)


def test_a_finished_job_shows_its_result_and_no_old_error() -> None:
    failed = event(State.RETRYING, 1, 20, started_ms=10, outcome="failed", error=ErrorInfo(type="E", message="m"))
    done = event(State.SUCCEEDED, 2, 40, started_ms=30, outcome="succeeded", result="7")

    jobs, attempts = fold({}, {}, [done, failed])

    assert jobs["j1"]["state"] == "succeeded"
    assert jobs["j1"]["result"] == "7"
    assert jobs["j1"]["error_type"] is None
    assert jobs["j1"]["first_started_ms"] == 10
    assert [attempts["j1", number]["outcome"] for number in (1, 2)] == ["failed", "succeeded"]
    assert attempts["j1", 1]["error_type"] == "E"


def test_a_late_event_of_an_attempt_does_not_undo_its_end() -> None:
    jobs, attempts = fold(
        {},
        {},
        [event(State.SUCCEEDED, 1, 20, started_ms=10, outcome="succeeded"), event(State.RUNNING, 1, 10, started_ms=10)],
    )

    assert jobs["j1"]["state"] == "succeeded"
    assert attempts["j1", 1]["finished_ms"] == 20


def test_a_submit_makes_no_attempt() -> None:
    jobs, attempts = fold({}, {}, [event(State.SCHEDULED, 0, 1, retry_at_ms=9000)])

    assert jobs["j1"]["scheduled_ms"] == 9000
    assert attempts == {}


def test_an_attempt_that_ran_twice_is_marked_in_whatever_order_its_events_come() -> None:
    first = [
        event(State.RUNNING, 1, 10, started_ms=10),
        event(State.SUCCEEDED, 1, 20, started_ms=10, outcome="succeeded"),
    ]
    second = [
        event(State.RUNNING, 1, 12, started_ms=12),
        event(State.SUCCEEDED, 1, 22, started_ms=12, outcome="succeeded"),
    ]

    for events in ([*first, *second], [*second, *first], [second[1], first[0]], [first[1], second[1], first[1]]):
        _, attempts = fold({}, {}, events)

        assert attempts["j1", 1]["duplicate"] is True


def test_an_attempt_that_is_told_of_twice_is_no_duplicate() -> None:
    ended = event(State.SUCCEEDED, 1, 20, started_ms=10, outcome="succeeded")
    unstarted = event(State.DEAD, 1, 30, outcome="lost")

    _, attempts = fold({}, {}, [event(State.RUNNING, 1, 10, started_ms=10), ended, ended, unstarted])

    assert attempts["j1", 1]["duplicate"] is False
