"""What a cancel makes of a run. Pure."""

from __future__ import annotations

from warren.events import ErrorInfo
from warren_worker.outcome import Cancelled, Discarded, Invalid, Outcome, Succeeded


def judge(outcome: Outcome, *, ordered: bool, out_of_time: bool, noticed: bool) -> Outcome | None:
    """Decide how a run ended that may have been told to stop.

    Args:
        outcome: How its code ended.
        ordered: The job was cancelled by an order while it ran.
        out_of_time: The task was asked to stop because its worker is out of time.
        noticed: The task looked, and was told to stop.

    Returns:
        The outcome that counts, or None: the job is given back, because only its worker had no time left.
    """
    if ordered:
        # Work that was done is not undone; but a task that looked may have stopped half-way.
        return outcome if isinstance(outcome, Succeeded) and not noticed else _cancelled(outcome)
    # An end that its work did not bring about is the drain's doing.
    return outcome if not out_of_time or isinstance(outcome, Succeeded | Discarded | Invalid) else None


def _cancelled(outcome: Outcome) -> Cancelled:
    if isinstance(outcome, Succeeded):
        return Cancelled(
            error=ErrorInfo(type="warren.errors.Cancelled", message="it returned after it was told to stop")
        )
    return Cancelled(error=outcome.error)
