"""When a client tries again, and for how long. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from warren.client.views import JobView
from warren.errors import RequestFailed

_TRANSIENT: Final = frozenset({0, 429, 502, 503, 504})
UNKNOWN: Final = frozenset({"outcome-unknown", "no-answer", "idempotency-key-busy", "http-502", "http-503", "http-504"})
"""Kinds of failure that leave it open whether the jobs were accepted."""
_POLL_PAUSE_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits of a client.

    Attributes:
        answer_seconds: How long one answer may take.
        submit_seconds: How long a submit that was refused, or whose outcome is unknown, is tried again.
    """

    answer_seconds: float = 30.0
    submit_seconds: float = 30.0


def submit_again(
    failure: RequestFailed, *, tries: int, remaining_seconds: float, rng: Random, keyed: bool
) -> float | None:
    """Decide whether a failed submit is sent again: only when its jobs are then not submitted twice.

    Without a key that is when they are certainly not accepted. With one it is also when nobody knows; a server that
    answered nothing may be starting again, so one that cannot be reached at the second try is waited for too.

    Args:
        failure: What the server answered, or that it did not.
        tries: Tries made, from 1.
        remaining_seconds: Time left for further tries.
        rng: Source of jitter.
        keyed: The submit has an `Idempotency-Key`.

    Returns:
        Seconds to pause before the next try, or None to give up.
    """
    wish = failure.retry_after_seconds
    refused = failure.status in (429, 503) and wish is not None and failure.kind != "outcome-unknown"
    unknown = failure.kind in UNKNOWN or (failure.kind == "unreachable" and tries > 1)
    if not refused and not (keyed and unknown):
        return None
    seconds = pause(_POLL_PAUSE_SECONDS if wish is None else wish, tries, rng)
    return seconds if seconds < remaining_seconds else None


def pause(wish_seconds: float, tries: int, rng: Random) -> float:
    """Return a pause of at least the wish, with jitter that grows with the tries."""
    return wish_seconds + rng.uniform(0, 0.1 * 2 ** min(tries, 4))


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
