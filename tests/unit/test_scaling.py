"""The scaling policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.scaling import Bounds, desired_workers

BOUNDS = Bounds(minimum=1, maximum=8, jobs_per_worker=10)


@pytest.mark.parametrize(
    ("ready", "unacked", "expected"),
    [(0, 0, 1), (1, 0, 1), (10, 0, 1), (11, 0, 2), (0, 25, 3), (15, 15, 3), (10_000, 0, 8)],
)
def test_the_fleet_follows_what_waits_and_what_runs(ready: int, unacked: int, expected: int) -> None:
    assert desired_workers(ready=ready, unacked=unacked, current=4, bounds=BOUNDS) == expected


@pytest.mark.parametrize(("ready", "unacked"), [(None, 3), (3, None), (None, None)])
def test_missing_data_holds_the_fleet(ready: int | None, unacked: int | None) -> None:
    assert desired_workers(ready=ready, unacked=unacked, current=5, bounds=BOUNDS) == 5


def test_missing_data_still_keeps_the_bounds() -> None:
    assert desired_workers(ready=None, unacked=None, current=0, bounds=BOUNDS) == 1
    assert desired_workers(ready=None, unacked=None, current=99, bounds=BOUNDS) == 8


def test_a_running_job_keeps_one_worker_of_a_fleet_that_may_shrink_to_nothing() -> None:
    bounds = Bounds(minimum=0, maximum=8, jobs_per_worker=10)

    assert desired_workers(ready=0, unacked=1, current=1, bounds=bounds) == 1
    assert desired_workers(ready=0, unacked=0, current=1, bounds=bounds) == 0


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 50), st.integers(0, 50))
def test_the_bounds_always_hold(ready: int, unacked: int, current: int, minimum: int, more: int) -> None:
    bounds = Bounds(minimum=minimum, maximum=minimum + more, jobs_per_worker=3)

    wanted = desired_workers(ready=ready, unacked=unacked, current=current, bounds=bounds)

    assert minimum <= wanted <= minimum + more


@pytest.mark.parametrize("bounds", [{"minimum": -1}, {"minimum": 3, "maximum": 2}])
def test_bounds_out_of_order_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="0 <= min <= max"):
        Bounds(**bounds)


def test_a_worker_must_be_worth_a_job() -> None:
    with pytest.raises(ValueError, match="jobs per worker is 0"):
        Bounds(jobs_per_worker=0)
