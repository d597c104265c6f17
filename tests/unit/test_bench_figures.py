"""Medians, percentiles and tenths of the benchmarks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import crossings, percentile, spread, tenth_rates

numbers = st.floats(min_value=0, max_value=1e9)


def test_a_spread_is_the_middle_value_with_both_extremes() -> None:
    found = spread([3.0, 1.0, 8.0])

    assert (found.median, found.low, found.high, found.rounds) == (3.0, 1.0, 8.0, 3)
    assert found.relative == pytest.approx(7 / 3)


def test_nothing_has_no_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_a_spread_around_zero_has_no_share() -> None:
    assert spread([0.0, 0.0]).relative == 0.0


@given(st.lists(numbers, min_size=1))
def test_the_median_lies_between_the_extremes(values: list[float]) -> None:
    found = spread(values)

    assert found.low <= found.median <= found.high


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1, 100)])
def test_percentiles_are_nearest_ranks(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_a_percentile_of_nothing_or_beyond_all_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


@given(st.lists(numbers, min_size=1), st.floats(min_value=0, max_value=1))
def test_a_share_of_all_values_does_not_exceed_its_percentile(values: list[float], share: float) -> None:
    ordered = sorted(values)

    found = percentile(ordered, share)

    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)


def test_crossings_are_interpolated_between_samples() -> None:
    samples = [(0.0, 0.0), (1.0, 10.0), (3.0, 50.0)]

    assert crossings(samples, [5, 10, 30, 50]) == [0.5, 1.0, 2.0, 3.0]


def test_a_jump_over_several_marks_crosses_each() -> None:
    assert crossings([(0.0, 0.0), (1.0, 30.0)], [10, 20, 30]) == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_a_count_that_stands_still_crosses_its_mark_where_it_came_to_it() -> None:
    assert crossings([(0.0, 5.0), (2.0, 5.0), (3.0, 9.0)], [5, 9]) == [0.0, 3.0]


def test_a_mark_that_was_never_reached_is_named() -> None:
    with pytest.raises(ValueError, match="never reached 11"):
        crossings([(0.0, 0.0), (1.0, 10.0)], [5, 11])


def test_the_rate_of_a_part_is_its_jobs_by_its_time() -> None:
    assert tenth_rates(100, [0.0, 1.0, 6.0]) == [50.0, 10.0]
