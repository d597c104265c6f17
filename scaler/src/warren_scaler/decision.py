"""What to do about the size of a fleet. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from warren.scaling import Decision, Observation, Reason
from warren_scaler.fleet import Size

StepReason = Reason | Literal["draining"]


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
        grow: Workers to start now.
        drain: Workers to let go now.
        reason: Why, as a metric label.
    """

    desired: int
    reason: StepReason
    grow: int = 0
    drain: int = 0


def observe(work: Work | None, size: Size) -> Observation:
    """Put together what the policy looks at."""
    if work is None:
        return Observation(current=size.active, ready=None, unacked=None)
    return Observation(current=size.active, ready=work.ready, unacked=work.unacked)


def plan(decision: Decision, work: Work | None, size: Size) -> Step:
    """Turn a decision into starts and drains.

    While there is work, one worker drains at a time: which of them is idle is not known here, and a drained worker
    hands its waiting jobs back.

    Args:
        decision: What the policy says.
        work: What is in the queues, or None when the broker could not be asked.
        size: The fleet as it is.
    """
    more = decision.workers - size.active
    if more >= 0:
        return Step(desired=decision.workers, reason=decision.reason, grow=more)
    if work is not None and not work.ready and not work.unacked:
        return Step(desired=decision.workers, reason=decision.reason, drain=-more)
    if size.draining:
        return Step(desired=decision.workers, reason="draining")
    return Step(desired=decision.workers, reason=decision.reason, drain=1)
