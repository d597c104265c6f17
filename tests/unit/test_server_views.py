"""What clients see of a job's attempts."""

from __future__ import annotations

from typing import Any

from warren.events import ErrorInfo, Event, State
from warren_server.api import views
from warren_server.store.fold import fold


def shown(*events: Event) -> list[dict[str, Any]]:
    jobs, attempts = fold({}, {}, events)
    document = views.job({**jobs["j1"], "cancel_requested_ms": None}, [attempts[key] for key in sorted(attempts)])
    return list(document["attempts"])


def event(state: State, attempt: int, **fields: Any) -> Event:
    told = {"job": "j1", "at_ms": 100 * attempt, "task": "t", "queue": "q", "enqueued_ms": 1, **fields}
    return Event(state=state, attempt=attempt, **told)


def began(attempt: int, **fields: Any) -> Event:
    return event(State.RUNNING, attempt, started_ms=100 * attempt, worker=f"w{attempt}", **fields)


def test_an_attempt_that_runs_has_no_outcome_yet() -> None:
    [attempt] = shown(began(1))

    assert (attempt["outcome"], attempt["error"], attempt["duplicate"]) == (None, None, False)


def test_an_attempt_that_a_later_one_followed_without_an_end_was_lost_with_its_worker() -> None:
    lost, running = shown(began(1), began(2, redelivered=True))

    assert (lost["outcome"], lost["worker"]) == ("lost", "w1")
    assert lost["error"]["message"] == "its worker died or lost its connection before the end"
    assert (running["outcome"], running["redelivered"]) == (None, True)


def test_the_last_attempt_of_a_job_that_is_over_was_lost_if_it_has_no_end() -> None:
    attempts = shown(began(1), event(State.CANCELLED, 0))

    assert [attempt["outcome"] for attempt in attempts] == ["lost"]


def test_an_attempt_that_failed_keeps_its_own_error() -> None:
    error = ErrorInfo(type="E", message="m")
    failed, _ = shown(event(State.RETRYING, 1, started_ms=100, outcome="failed", error=error), began(2))

    assert (failed["outcome"], failed["error"]["type"]) == ("failed", "E")
