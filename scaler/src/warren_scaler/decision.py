"""What to do about the size of a fleet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from warren.scaling import Decision, Observation, Reason
from warren_scaler.fleet import Member

StepReason = Reason | Literal["busy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is in the queues.

    Attributes:
        ready: Jobs waiting.
        unacked: Jobs handed out and not settled.
    """

    ready: int
    unacked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do now.

    Attributes:
        desired: The size the fleet should have.
        reason: Why, as a metric label; `busy`: fewer would do, but those there are have jobs.
        grow: Workers to start now.
        drain: Workers to let go now.
    """

    desired: int
    reason: StepReason
    grow: int = 0
    drain: tuple[str, ...] = ()


def observe(work: Work | None, members: Sequence[Member], expected_seconds: float | None) -> Observation:
    """Put together what the policy looks at. Workers that do not tell leave it to the unsettled jobs who is busy.

    Args:
        work: What is in the queues, or None when the broker could not be asked.
        members: The workers.
        expected_seconds: How long a job is expected to run, if that is known.
    """
    active = [member for member in members if not member.draining]
    told = [member.status for member in active if member.status is not None]
    all_told = len(told) == len(active)
    leaving = [member.status for member in members if member.draining and member.status is not None]
    return Observation(
        current=len(active),
        ready=None if work is None else work.ready,
        unacked=None if work is None else work.unacked,
        leaving_jobs=sum(status.held for status in leaving),
        running=sum(status.running for status in told) if all_told else None,
        busy_workers=sum(status.held > 0 for status in told) if all_told else None,
        expected_seconds=expected_seconds,
    )


def plan(decision: Decision, members: Sequence[Member]) -> Step:
    """Turn a decision into starts and drains: only idle workers are let go, the youngest first.

    Args:
        decision: What the policy says.
        members: The workers, oldest first: they have the warmest caches.
    """
    active = [member for member in members if not member.draining]
    more = decision.workers - len(active)
    if more >= 0:
        return Step(desired=decision.workers, reason=decision.reason, grow=more)
    idle = [member.name for member in reversed(active) if member.idle]
    drain = tuple(idle[:-more])
    return Step(desired=decision.workers, reason=decision.reason if drain else "busy", drain=drain)
