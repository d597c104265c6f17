"""Medians, spreads and percentiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What several rounds of one quantity came to.

    Attributes:
        median: The middle value.
        low: The smallest.
        high: The largest.
        rounds: How many there were.
    """

    median: float
    low: float
    high: float
    rounds: int

    @property
    def relative(self) -> float:
        """Distance of the extremes as a share of the median; 0 when the median is 0."""
        return (self.high - self.low) / self.median if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Return median and extremes.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values to take a median of")
    return Spread(median=median(values), low=min(values), high=max(values), rounds=len(values))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of all values do not exceed (nearest rank).

    Args:
        ordered: Values in ascending order.
        share: Between 0 and 1.

    Raises:
        ValueError: There are no values, or the share is out of range.
    """
    if not ordered or not 0 <= share <= 1:
        raise ValueError(f"percentile {share} of {len(ordered)} values: needs values, and a share between 0 and 1")
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def crossings(samples: Iterable[tuple[float, float]], marks: Sequence[float]) -> list[float]:
    """Return when a growing count reached each mark, interpolated between samples.

    Args:
        samples: Pairs of time and count, both in ascending order.
        marks: Counts in ascending order.

    Raises:
        ValueError: The count never reached a mark.
    """
    times: list[float] = []
    left = list(marks)
    for (began, before), (ended, after) in pairwise(samples):
        while left and before <= left[0] <= after:
            share = (left[0] - before) / (after - before) if after > before else 0.0
            times.append(began + share * (ended - began))
            left.pop(0)
    if left:
        raise ValueError(f"the count never reached {left[0]:g}")
    return times


def tenth_rates(total: int, times: Sequence[float]) -> list[float]:
    """Return jobs a second in each part.

    Args:
        total: Jobs in all parts, which are equal.
        times: When each part began and, in the end, when the last one ended; one more than there are parts.
    """
    parts = len(times) - 1
    return [total / parts / max(after - before, 1e-9) for before, after in pairwise(times)]
