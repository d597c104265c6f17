"""The judgement of a load on a cluster: each thing that may go wrong is seen."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.under_load.ends import Ends
from e2e.under_load.load import Account, Submit, account


def submit(number: int, *, at: float | None = None, **more: Any) -> Submit:
    answered = float(number) if at is None else at
    given: dict[str, Any] = {"tries": (202,), "job": f"job-{number}", **more}
    return Submit(key=f"load-{number}", due=float(number), answered=answered, **given)


def job(
    number: int, *, state: str = "succeeded", attempts: tuple[tuple[int, str | None], ...] = ((1, "succeeded"),)
) -> Any:
    told = [{"attempt": attempt, "outcome": outcome} for attempt, outcome in attempts]
    last = attempts[-1][0] if attempts else 0
    return {"id": f"job-{number}", "task": "load.quick", "state": state, "attempt": last, "attempts": told}


def well() -> Account:
    return account([submit(1), submit(2)], [job(1), job(2)])


def test_a_load_without_a_fault_shows_none() -> None:
    judged = well()

    assert (judged.submits, judged.accepted) == (2, 2)
    for found in (judged.failed, judged.lost, judged.strangers, judged.burnt, judged.killed, judged.retried):
        assert not found
    assert judged.states == {"succeeded": 2}


@pytest.mark.parametrize("jobs", [[job(1)], [job(1), job(2, state="running")], [job(1), job(2, state="dead")]])
def test_an_accepted_job_that_did_not_succeed_is_lost(jobs: list[Any]) -> None:
    judged = account([submit(1), submit(2)], jobs)

    assert judged.lost == ("job-2",)


def test_a_job_that_no_answer_told_of_is_a_stranger() -> None:
    judged = account([submit(1), submit(2)], [job(1), job(2), job(3)])

    assert judged.strangers == ("job-3",)


def test_an_attempt_above_the_first_is_burnt_and_one_lost_with_its_worker_killed() -> None:
    twice = job(2, attempts=((1, "lost"), (2, "succeeded")))

    judged = account([submit(1), submit(2)], [job(1), twice])

    assert [one["id"] for one in judged.burnt] == ["job-2"]
    assert judged.killed == 1
    assert judged.numbers == {1: 1, 2: 1}


def test_tries_before_the_last_are_counted_and_a_submit_that_failed_is_named() -> None:
    failed = submit(3, job=None, failure="503 not-ready", tries=(503, "ConnectError"))

    judged = account([submit(1, tries=(503, 503, 202)), submit(2), failed], [job(1), job(2)])

    assert judged.retried == {503: 3}
    assert judged.failed == ("load-3: 503 not-ready after (503, 'ConnectError')",)
    assert not judged.lost


def test_the_longest_time_without_an_accepted_submit_is_between_answers() -> None:
    judged = account([submit(1), submit(2, at=9.0), submit(3, at=9.5)], [job(1), job(2), job(3)])

    assert (judged.longest_gap_seconds, judged.gap_began) == (8.0, 1.0)
    assert judged.slowest_seconds == 7.0


def test_the_watch_of_pods_tells_a_kill_from_an_orderly_end() -> None:
    ends = Ends()

    for line in (
        "worker-a 0",
        "worker-b 0",
        "worker-a 0 0 Completed",
        "worker-b 0 137 Error",
        "worker-c 1",
        "worker-d",
    ):
        ends.read(line)

    assert set(ends.of) == {"worker-a", "worker-b"}
    assert {name: end.code for name, end in ends.killed.items()} == {"worker-b": 137}
    assert ends.restarts == {"worker-c"}
