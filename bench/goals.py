"""The goals, as data, and how far each was reached. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.figures import Spread
from bench.readings import Key

_PUBLISHED_BY_CELERY: Final = (("publish.one.64", "celery"), ("publish.bulk.64", "celery"))
"""Celery has no bulk publish; its loop over one shared producer counts if that is faster."""
_LATENCY_PEERS: Final = ("celery", "dramatiq", "taskiq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Something to be reached: a value, or a ratio to others' values in the same run.

    Attributes:
        what: What it is about.
        ours: The value that is judged.
        bound: What value or ratio must be reached.
        direction: `at least` or `at most` the bound.
        theirs: Whom it is compared with; of several the best. Empty for a bound on the value itself.
        unit: Unit of a bound on the value itself.
    """

    what: str
    ours: Key
    bound: float
    direction: Literal["at least", "at most"] = "at least"
    theirs: tuple[Key, ...] = ()
    unit: str = ""

    @property
    def text(self) -> str:
        """The goal in words."""
        sign = "≥" if self.direction == "at least" else "≤"
        if not self.theirs:
            return f"{sign} {self.bound:g} {self.unit}".rstrip()
        names = sorted({name for _, name in self.theirs})
        whom = names[0] if len(names) == 1 else f"the best of {', '.join(names)}"
        return f"{sign} {self.bound:g} × {whom}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How far a goal was reached.

    Attributes:
        goal: The goal.
        reached: The value or ratio that was reached; None when something needed was not measured.
        lacking: What was not measured.
    """

    goal: Goal
    reached: float | None
    lacking: tuple[Key, ...] = ()

    @property
    def ratio(self) -> float | None:
        """How the result stands to the goal: 1 or more is reached."""
        if self.reached is None:
            return None
        if self.goal.direction == "at least":
            return self.reached / self.goal.bound
        return self.goal.bound / self.reached if self.reached else float("inf")

    @property
    def met(self) -> bool | None:
        """Whether it was reached; None when that is not known."""
        return None if self.ratio is None else self.ratio >= 1


GOALS: Final = (
    Goal(what="direct bulk publish", ours=("publish.bulk.64", "warren"), bound=20, theirs=_PUBLISHED_BY_CELERY),
    Goal(
        what="direct bulk publish",
        ours=("publish.bulk.64", "warren"),
        bound=0.7,
        theirs=(("publish.bulk.64", "pika-select"),),
    ),
    Goal(
        what="HTTP batch submit, rows recorded",
        ours=("http.batch", "warren"),
        bound=8,
        theirs=_PUBLISHED_BY_CELERY,
    ),
    Goal(
        what="HTTP single submit, 32 clients, one server process",
        ours=("http.single", "warren"),
        bound=1.5,
        theirs=_PUBLISHED_BY_CELERY,
    ),
    Goal(
        what="worker, no-op tasks, results recorded",
        ours=("worker.noop.recorded", "warren"),
        bound=2.5,
        theirs=(("worker.noop.rate", "dramatiq"),),
    ),
    Goal(
        what="worker, no-op tasks, results recorded",
        ours=("worker.noop.recorded", "warren"),
        bound=5,
        theirs=(("worker.noop.rate", "celery"),),
    ),
    Goal(
        what="worker, 5 ms CPU tasks: cores busy with the task, less the broker's share",
        ours=("worker.cpu.busy", "warren"),
        bound=95,
        unit="%",
    ),
    Goal(
        what="end-to-end latency at 500 jobs/s, p50",
        ours=("latency.p50", "warren"),
        bound=5,
        direction="at most",
        unit="ms",
    ),
    Goal(
        what="end-to-end latency at 500 jobs/s, p99",
        ours=("latency.p99", "warren"),
        bound=25,
        direction="at most",
        unit="ms",
    ),
    *(
        Goal(
            what=f"end-to-end latency at 500 jobs/s, {quantile}",
            ours=(f"latency.{quantile}", "warren"),
            bound=1,
            direction="at most",
            theirs=tuple((f"latency.{quantile}", peer) for peer in _LATENCY_PEERS),
        )
        for quantile in ("p50", "p99")
    ),
    Goal(
        what="backlog: slowest of the last tenths to the first, submit and drain",
        ours=("backlog.evenness", "warren"),
        bound=0.85,
    ),
    Goal(
        what="backlog: worker's memory, last tenth to first",
        ours=("backlog.worker-growth", "warren"),
        bound=1.1,
        direction="at most",
    ),
    Goal(
        what="backlog: server's memory, last tenth to first",
        ours=("backlog.server-growth", "warren"),
        bound=1.1,
        direction="at most",
    ),
    *(
        Goal(
            what="idle worker RSS, example tasks loaded",
            ours=("memory.idle.process", "warren"),
            bound=1,
            direction="at most",
            theirs=(("memory.idle.process", peer),),
        )
        for peer in ("celery", "dramatiq")
    ),
)


def judge(goals: Sequence[Goal], summaries: Mapping[Key, Spread], better: Mapping[str, str]) -> list[Score]:
    """Hold the medians against the goals.

    Args:
        goals: What is to be reached.
        summaries: What was measured.
        better: For each quantity whether `higher` or `lower` values are better: of several peers the best one counts.
    """
    return [_judge(goal, summaries, better) for goal in goals]


def _judge(goal: Goal, summaries: Mapping[Key, Spread], better: Mapping[str, str]) -> Score:
    there = [key for key in goal.theirs if key in summaries]
    lacking = tuple(key for key in (goal.ours, *goal.theirs) if key not in summaries)
    if goal.ours not in summaries or (goal.theirs and not there):
        return Score(goal=goal, reached=None, lacking=lacking)
    ours = summaries[goal.ours].median
    if not goal.theirs:
        return Score(goal=goal, reached=ours)
    best = min if better[there[0][0]] == "lower" else max
    theirs = best(summaries[key].median for key in there)
    if not theirs:
        return Score(goal=goal, reached=None, lacking=tuple(there))
    return Score(goal=goal, reached=ours / theirs, lacking=lacking)
