"""What a cancel makes of a run. Pure."""

from __future__ import annotations

from warren.events import ErrorInfo
from warren_worker.outcome import Cancelled, Outcome, Succeeded


def judge(outcome: Outcome, *, ordered: bool, asked: bool, noticed: bool) -> Outcome | None:
    """Decide how a run ended that may have been told to stop.

    Args:
        outcome: How its code ended.
        ordered: The job was cancelled by an order while it ran.
        asked: The task was asked to stop, for that or because its worker is out of time.
        noticed: The task looked, and was told to stop.

    Returns:
        The outcome that counts, or None: the job is given back, because only its worker had no time left.
    """
    if ordered:
        # Work that was done is not undone; but a task that looked may have stopped half-way.
        return outcome if isinstance(outcome, Succeeded) and not noticed else _cancelled(outcome)
    return None if asked and isinstance(outcome, Cancelled) else outcome


def _cancelled(outcome: Outcome) -> Cancelled:
    if isinstance(outcome, Succeeded):
        return Cancelled(
            error=ErrorInfo(type="warren.errors.Cancelled", message="it returned after it was told to stop")
        )
    return Cancelled(error=outcome.error)
