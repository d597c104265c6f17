"""Which ticks fire now: a pure decision, also when some were missed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID, uuid5

from warren_server.schedules.timing import Timing, latest_ticks, next_tick

CatchUp = Literal["skip", "one", "all"]

GRACE_SECONDS: Final = 10
"""A tick this late is not missed yet: another server takes over within that time."""
MAX_MISSED: Final = 1000
"""Ticks looked at when servers were away for long; older ones are dropped."""
MAX_AT_ONCE: Final = 100
"""Ticks of a schedule that one plan fires; the rest stays due."""

_NAMESPACE: Final = UUID("0c1f6a0e-6f0a-5b0f-9d55-7a7e3f1d2c84")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do with the ticks that are due.

    Attributes:
        fire: Ticks to fire, oldest first.
        skipped: How many are let go of, of the latest `MAX_MISSED`.
        dropped: Whether there were older ones, that nobody counted.
        next_ms: First tick that is not dealt with; None when there will be none.
    """

    fire: tuple[int, ...]
    skipped: int
    dropped: bool
    next_ms: int | None


def plan(timing: Timing, catch_up: CatchUp, next_ms: int, now_ms: int) -> Plan:
    """Decide which ticks fire now.

    A tick up to `GRACE_SECONDS` late always fires. Older ones were missed, and the policy decides: `skip` lets go of
    all of them, `one` fires the latest unless a tick within the grace stands for it, `all` fires each, up to
    `MAX_MISSED`.

    Args:
        timing: When ticks come.
        catch_up: The policy.
        next_ms: First tick that was not dealt with.
        now_ms: The time.
    """
    due, dropped = latest_ticks(timing, next_ms, now_ms, MAX_MISSED)
    grace_ms = now_ms - GRACE_SECONDS * 1000
    recent = [tick for tick in due if tick >= grace_ms]
    chosen = {"skip": recent, "one": recent or due[-1:], "all": due}[catch_up]
    return Plan(
        fire=tuple(chosen[:MAX_AT_ONCE]),
        skipped=len(due) - len(chosen),
        dropped=dropped,
        next_ms=chosen[MAX_AT_ONCE] if len(chosen) > MAX_AT_ONCE else next_tick(timing, max(now_ms, next_ms - 1)),
    )


def jitter_seconds(schedule: str, tick_ms: int, most_seconds: int) -> int:
    """Return how long the job of a tick is delayed: 0 to `most_seconds`, always the same for the same tick."""
    digest = hashlib.sha256(f"{schedule} {tick_ms}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (most_seconds + 1)


def job_id(schedule: str, created_ms: int, tick_ms: int) -> str:
    """Return the id of a tick's job (UUIDv5): whichever server fires the tick, it is the same job."""
    return str(uuid5(_NAMESPACE, f"{schedule} {created_ms} {tick_ms}"))
