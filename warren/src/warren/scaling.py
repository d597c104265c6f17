"""How many workers a queue should have. Pure; every scaler asks here.

Workers that are busy are wanted, and besides them as many as it takes to start what waits within the latency goal: each
waiting job is worth a share of a slot, all of one when it is expected to take as long as jobs may wait or longer, half
of one when it takes half as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Cause = Literal["backlog", "depth", "busy", "idle", "minimum", "maximum", "no_data"]
"""What a target comes from: the latency goal, the depth alone (cold start), busy workers, no work, a bound, or nothing
known."""
Reason = Literal["up", "down", "hold", "settling", "no_data"]
"""What a decision comes to, as a metric label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of a fleet.

    Attributes:
        minimum: Fewest workers, 0 or more.
        maximum: Most workers.
    """

    minimum: int = 0
    maximum: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum:
            raise ValueError(f"min {self.minimum} and max {self.maximum}: must hold 0 <= min <= max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a fleet is held to.

    Attributes:
        bounds: Its limits.
        concurrency: Jobs that one worker runs at once, 1 or more.
        slo_seconds: How long a job may wait for its start, above 0.
        jobs_per_worker: Jobs, waiting and running, that one worker is given while nothing is known of how long they
            take; None for as many as it runs at once.
        stable_seconds: How long fewer workers must have been enough before any is let go.
    """

    bounds: Bounds = field(default_factory=Bounds)
    concurrency: int = 10
    slo_seconds: float = 30.0
    jobs_per_worker: int | None = None
    stable_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"concurrency is {self.concurrency}: must be 1 or more")
        if not (math.isfinite(self.slo_seconds) and self.slo_seconds > 0):
            raise ValueError(f"latency goal is {self.slo_seconds} s: must be above 0")
        if self.jobs_per_worker is not None and self.jobs_per_worker < 1:
            raise ValueError(f"jobs per worker is {self.jobs_per_worker}: must be 1 or more")
        if not (math.isfinite(self.stable_seconds) and self.stable_seconds >= 0):
            raise ValueError(f"stable time is {self.stable_seconds} s: must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is seen of a queue and its fleet at one moment; None where nothing is known.

    Attributes:
        current: Workers that take work: terminating and draining ones do not count.
        ready: Jobs waiting at the broker, as it counted them last.
        unacked: Jobs handed out and not settled, to whichever worker.
        leaving_jobs: Of those, jobs held by workers that drain or terminate: they need no worker of their own.
        running: Jobs that run on the current workers; taken from `unacked` when workers do not tell.
        busy_workers: Current workers that run a job; likewise.
        expected_seconds: How long a job of this queue is expected to run.
    """

    current: int
    ready: int | None
    unacked: int | None
    leaving_jobs: int = 0
    running: int | None = None
    busy_workers: int | None = None
    expected_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How many workers are wanted at one moment.

    Attributes:
        workers: How many, within the bounds.
        unbounded: How many it would be without bounds.
        cause: What decided.
        explanation: The same as a sentence.
    """

    workers: int
    unbounded: int
    cause: Cause
    explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How many workers were wanted from a moment on.

    Attributes:
        at_seconds: When, on a clock that never goes back.
        workers: How many.
    """

    at_seconds: float
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about a fleet now.

    Attributes:
        workers: The size it should have now.
        reason: Why, as a metric label.
        target: What is wanted at this moment; differs from `workers` while the fleet settles.
        memory: What the next decision has to know of this one and those before.
    """

    workers: int
    reason: Reason
    target: Target
    memory: tuple[Wish, ...]


def find_target(seen: Observation, policy: Policy) -> Target:
    """Say how many workers are wanted for what is seen at one moment.

    Missing data asks for the workers there are, and for the minimum at least.
    """
    if seen.ready is None or seen.unacked is None:
        held = max(seen.current, policy.bounds.minimum)
        return Target(
            workers=held, unbounded=held, cause="no_data", explanation="depths are unknown: the fleet is held"
        )
    held_jobs = max(seen.unacked - seen.leaving_jobs, 0)
    busy = _busy_workers(seen, held_jobs, policy.concurrency)
    # The broker counts every few seconds, workers tell at once: what they run beyond what it counted as handed out has
    # begun since, and is among what it counted as waiting.
    begun = max((seen.running or 0) - held_jobs, 0)
    waiting = max(seen.ready - begun, 0)
    jobs = waiting + max(held_jobs, seen.running or 0)
    unbounded = max(_workers_for(jobs, waiting, busy, seen, policy), 1 if jobs else 0)
    workers = min(max(unbounded, policy.bounds.minimum), policy.bounds.maximum)
    cause: Cause
    if unbounded > policy.bounds.maximum:
        cause = "maximum"
    elif unbounded < policy.bounds.minimum:
        cause = "minimum"
    elif not unbounded:
        cause = "idle"
    elif busy == unbounded:
        cause = "busy"
    else:
        cause = "depth" if seen.expected_seconds is None else "backlog"
    return Target(
        workers=workers,
        unbounded=unbounded,
        cause=cause,
        explanation=_explain(jobs, busy, unbounded, seen.expected_seconds, policy),
    )


def decide(seen: Observation, policy: Policy, now_seconds: float, memory: Sequence[Wish] = ()) -> Decision:
    """Decide the size of a fleet.

    More workers are given at once and all together, fewer only down to the highest wish of the whole stable time. A
    memory that does not reach back so far lets none go, and neither does missing data.

    Args:
        seen: What is seen now.
        policy: What the fleet is held to.
        now_seconds: Now, on a clock that never goes back.
        memory: Of the last decision; empty for the first.
    """
    target = find_target(seen, policy)
    wish = Wish(at_seconds=now_seconds, workers=target.workers)
    wishes = remember(memory, wish, policy.stable_seconds)
    workers, reason = _settle(target, seen.current, policy, wishes)
    return Decision(workers=workers, reason=reason, target=target, memory=wishes)


def remember(wishes: Sequence[Wish], wish: Wish, stable_seconds: float) -> tuple[Wish, ...]:
    """Add a wish, and forget those that were no longer in force when the stable time began."""
    known = (*wishes, wish)
    begin = wish.at_seconds - stable_seconds
    in_force = max((index for index, old in enumerate(known) if old.at_seconds <= begin), default=0)
    return known[in_force:]


def _settle(target: Target, current: int, policy: Policy, wishes: Sequence[Wish]) -> tuple[int, Reason]:
    if target.cause == "no_data":
        return target.workers, "no_data"
    if target.workers >= current:
        return target.workers, "up" if target.workers > current else "hold"
    kept = min(max(wish.workers for wish in wishes), policy.bounds.maximum)
    known_seconds = wishes[-1].at_seconds - wishes[0].at_seconds
    if kept >= current or known_seconds < policy.stable_seconds:
        return current, "settling"
    return kept, "down"


def _busy_workers(seen: Observation, held_jobs: int, concurrency: int) -> int:
    """Return how many current workers are busy; when they do not tell, as few as can hold the jobs handed out."""
    if seen.busy_workers is not None:
        return seen.busy_workers
    running = held_jobs if seen.running is None else seen.running
    return min(math.ceil(running / concurrency), seen.current)


def _workers_for(jobs: int, waiting: int, busy: int, seen: Observation, policy: Policy) -> int:
    if seen.expected_seconds is None:
        return max(math.ceil(jobs / (policy.jobs_per_worker or policy.concurrency)), busy)
    share = min(max(seen.expected_seconds, 0.0) / policy.slo_seconds, 1.0)
    # The rounding keeps 0.1 + 0.2 from costing one more.
    return busy + math.ceil(round(waiting * share / policy.concurrency, 9))


def _explain(jobs: int, busy: int, unbounded: int, expected_seconds: float | None, policy: Policy) -> str:
    if not jobs and not busy:
        return "nothing waits and nothing runs"
    if expected_seconds is None:
        per_worker = policy.jobs_per_worker or policy.concurrency
        how = f"{per_worker} to a worker, as nothing is known of how long they take"
    else:
        how = f"{expected_seconds:.3g} s each, to start within {policy.slo_seconds:g} s, {policy.concurrency} at once"
    text = f"{jobs} jobs waiting or running ({how}) and {busy} busy workers ask for {unbounded}"
    bounds = policy.bounds
    if unbounded > bounds.maximum:
        text += f"; the most is {bounds.maximum}"
    elif unbounded < bounds.minimum:
        text += f"; the least is {bounds.minimum}"
    return text
