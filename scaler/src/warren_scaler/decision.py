"""What to do about the size of a fleet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from warren.scaling import Bounds, desired_workers
from warren_scaler.fleet import Size

Reason = Literal["up", "down", "hold", "settling", "draining", "no_data"]


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
class Wish:
    """How many workers were wanted at some time.

    Attributes:
        at_seconds: When, on a clock that never goes back.
        workers: How many.
    """

    at_seconds: float
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision.

    Attributes:
        desired: The size the fleet should have.
        grow: Workers to start now.
        drain: Workers to let go now.
        reason: Why, as a metric label.
    """

    desired: int
    reason: Reason
    grow: int = 0
    drain: int = 0


def wish(work: Work | None, size: Size, bounds: Bounds, now_seconds: float) -> Wish:
    """Ask the scaling policy how many workers the work deserves; no data asks for those there are."""
    ready, unacked = (None, None) if work is None else (work.ready, work.unacked)
    workers = desired_workers(ready=ready, unacked=unacked, current=size.active, bounds=bounds)
    return Wish(at_seconds=now_seconds, workers=workers)


def recent(wishes: Sequence[Wish], now_seconds: float, stable_seconds: float) -> list[Wish]:
    """Return the wishes that still count for letting workers go."""
    return [known for known in wishes if known.at_seconds >= now_seconds - stable_seconds]


def decide(wishes: Sequence[Wish], work: Work | None, size: Size) -> Step:
    """Decide one step. More is given at once; less only down to the highest wish of the recent past.

    While there is work, one worker drains at a time: which of them is idle is not known here, and a drained worker
    hands its waiting jobs back.

    Args:
        wishes: The recent wishes, oldest first, at least one; the last is the present one.
        work: What is in the queues, or None when the broker could not be asked.
        size: The fleet as it is.
    """
    wanted = wishes[-1].workers
    if wanted > size.active:
        return Step(desired=wanted, reason="no_data" if work is None else "up", grow=wanted - size.active)
    if work is None:
        return Step(desired=size.active, reason="no_data")
    if wanted == size.active:
        return Step(desired=wanted, reason="hold")
    kept = max(known.workers for known in wishes)
    if kept >= size.active:
        return Step(desired=size.active, reason="settling")
    if not work.ready and not work.unacked:
        return Step(desired=kept, reason="down", drain=size.active - kept)
    if size.draining:
        return Step(desired=kept, reason="draining")
    return Step(desired=kept, reason="down", drain=1)
