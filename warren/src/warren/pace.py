"""How long a job is expected to run, learnt from what workers tell of the runs that ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from warren.status import WorkerStatus

REMEMBERED: Final = 50.0
"""Runs that are remembered: older ones fade as new ones come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is known of how long jobs run.

    Attributes:
        runs: Runs that are remembered, fewer than were seen.
        seconds: How long they took, all together.
        seen: What each worker told last of its sums: runs and seconds.
    """

    runs: float = 0.0
    seconds: float = 0.0
    seen: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def expected_seconds(self) -> float | None:
        """How long a job is expected to run; None while no run has ended."""
        return self.seconds / self.runs if self.runs else None


def learn(pace: Pace, statuses: Iterable[WorkerStatus]) -> Pace:
    """Add what workers tell now: the runs that ended since they told last.

    Workers that do not tell any more are forgotten, what they told is not. A worker whose sums fell was started anew
    under its name, and all that it tells is new.
    """
    seen: dict[str, tuple[int, float]] = {}
    runs = seconds = 0.0
    for status in statuses:
        seen[status.worker] = (status.ended, status.ended_seconds)
        before_runs, before_seconds = pace.seen.get(status.worker, (0, 0.0))
        if status.ended < before_runs or status.ended_seconds < before_seconds:
            before_runs, before_seconds = 0, 0.0
        runs += status.ended - before_runs
        seconds += status.ended_seconds - before_seconds
    kept = max(REMEMBERED - runs, 0.0) / pace.runs if pace.runs > max(REMEMBERED - runs, 0.0) else 1.0
    return Pace(runs=pace.runs * kept + runs, seconds=pace.seconds * kept + seconds, seen=seen)
