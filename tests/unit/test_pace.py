"""What jobs are expected to take, learnt from workers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warren.pace import REMEMBERED, Pace, learn
from warren.status import WorkerStatus


def told(worker: str, ended: int, seconds: float) -> WorkerStatus:
    return WorkerStatus(
        worker=worker,
        concurrency=1,
        running=0,
        waiting=0,
        oldest_job_seconds=0,
        draining=False,
        ended=ended,
        ended_seconds=seconds,
    )


def test_nothing_is_expected_before_a_run_has_ended() -> None:
    assert learn(Pace(), [told("a", 0, 0.0)]).expected_seconds is None


def test_all_workers_count_by_what_is_new() -> None:
    pace = learn(Pace(), [told("a", 2, 4.0), told("b", 1, 8.0)])
    again = learn(pace, [told("a", 2, 4.0), told("b", 2, 16.0)])

    assert pace.expected_seconds == 4
    assert (again.runs, again.expected_seconds) == (4, 5)


def test_a_worker_that_was_started_anew_begins_anew() -> None:
    pace = learn(learn(Pace(), [told("a", 10, 10.0)]), [told("a", 2, 4.0)])

    assert (pace.runs, pace.seconds) == (12, 14)


def test_what_a_worker_told_stays_when_it_has_gone() -> None:
    pace = learn(learn(Pace(), [told("a", 10, 30.0)]), [])

    assert (pace.expected_seconds, dict(pace.seen)) == (3, {})


def test_old_runs_fade_as_new_ones_come() -> None:
    pace = learn(Pace(), [told("a", 1000, 1000.0)])

    for turn in range(1, 11):
        pace = learn(pace, [told("a", 1000 + turn * 10, 1000.0 + turn * 100.0)])

    assert pace.expected_seconds == pytest.approx(10, rel=0.15)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 100)), max_size=30))
def test_the_expectation_lies_among_the_runs_and_the_memory_is_bounded(turns: list[tuple[int, float]]) -> None:
    pace, ended, seconds = Pace(), 0, 0.0
    each = [mean for runs, mean in turns if runs]
    for runs, mean in turns:
        ended, seconds = ended + runs, seconds + runs * mean
        pace = learn(pace, [told("a", ended, seconds)])

        assert pace.runs <= max(REMEMBERED, runs) + 1e-6
    if each:
        assert pace.expected_seconds is not None
        assert min(each) - 1e-6 <= pace.expected_seconds <= max(each) + 1e-6
