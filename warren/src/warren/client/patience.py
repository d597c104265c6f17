"""When a client tries again, and for how long. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from warren.client.views import JobView
from warren.errors import RequestFailed

_TRANSIENT: Final = frozenset({0, 429, 502, 503, 504})
_POLL_PAUSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits of a client.

    Attributes:
        answer_seconds: How long one answer may take.
        submit_seconds: How long a refused submit is tried again.
    """

    answer_seconds: float = 30.0
    submit_seconds: float = 30.0


def submit_again(failure: RequestFailed, *, tries: int, remaining_seconds: float, rng: Random) -> float | None:
    """Decide whether a failed submit is sent again: only when its jobs are certainly not accepted.

    Args:
        failure: What the server answered.
        tries: Tries made, from 1.
        remaining_seconds: Time left for further tries.
        rng: Source of jitter.

    Returns:
        Seconds to pause before the next try, or None to give up.
    """
    wish = failure.retry_after_seconds
    if failure.status not in (429, 503) or wish is None or failure.kind == "outcome-unknown":
        return None
    pause = wish + rng.uniform(0, 0.1 * 2 ** min(tries, 4))
    return pause if pause < remaining_seconds else None


def poll_again(failure: RequestFailed, *, job: JobView | str, rng: Random) -> float | None:
    """Decide whether waiting for a job goes on after a failed poll: a server may restart meanwhile.

    Args:
        failure: What the poll met.
        job: What is waited for; a job whose tracking is deferred may be unknown for a while.
        rng: Source of jitter.

    Returns:
        Seconds to pause, or None to give up.
    """
    deferred = isinstance(job, JobView) and job.tracking == "deferred"
    if failure.status in _TRANSIENT or (deferred and failure.status == 404):
        return (failure.retry_after_seconds or _POLL_PAUSE_SECONDS) * rng.uniform(1, 2)
    return None


def poll_pause(*, asked_seconds: float, took_seconds: float) -> float:
    """Return the pause after a poll that came back early, so that a server without long polls is not hammered."""
    return 0.0 if took_seconds >= min(asked_seconds, _POLL_PAUSE_SECONDS) else _POLL_PAUSE_SECONDS - took_seconds


def still_waiting(job_id: str, last: JobView | None, timeout_seconds: float) -> RequestFailed:
    """Say that a wait is over before the job is."""
    where = f"is {last.state}" if last is not None else "could not be asked for"
    return RequestFailed(0, "wait-timeout", f"job {job_id} {where} after {timeout_seconds:g} s")
