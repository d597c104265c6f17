"""How an attempt ended, as values: text only, so that nothing of the task's own objects outlives its run."""

from __future__ import annotations

import json
import logging
import traceback
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from warren import errors
from warren.errors import Discard, RetryAfter, TimeLimitExceeded
from warren.events import MAX_MESSAGE_CHARS, MAX_RESULT_BYTES, MAX_TRACEBACK_CHARS, ErrorInfo

logger = logging.getLogger(__name__)

_OUR_FILES: Final = ("warren_worker/", "concurrent/futures/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The task returned.

    Attributes:
        result: Its return value as JSON text, or None when it cannot be kept.
        note: Why the result was not kept, or None.
    """

    result: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The task raised."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAsked:
    """The task asked for another attempt after so many seconds."""

    error: ErrorInfo
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded:
    """The task said the job is not worth another attempt."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """The arguments do not fit the task's signature; its code did not run."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The attempt ran out of time."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """The child process died under the task."""

    error: ErrorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The job was cancelled; its code stopped on the way, or did not begin."""

    error: ErrorInfo


Unsuccessful: TypeAlias = Failed | RetryAsked | Discarded | Invalid | TimedOut | Crashed
Outcome: TypeAlias = Succeeded | Cancelled | Unsuccessful


def returned(value: Any) -> Succeeded:
    """Make the outcome of a return value.

    A value that is not JSON, or has more than 64 KiB of it, is not kept: the work is done, and running it again would
    not change that.
    """
    from pydantic_core import to_jsonable_python

    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=to_jsonable_python)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        return Succeeded(result=None, note=clean(f"result not kept: it is not JSON: {error}", MAX_MESSAGE_CHARS))
    if size > MAX_RESULT_BYTES:
        return Succeeded(result=None, note=f"result not kept: {size} bytes, the limit is {MAX_RESULT_BYTES}")
    return Succeeded(result=text)


def raised(error: BaseException, timeout_seconds: float) -> Cancelled | Unsuccessful:
    """Make the outcome of an exception that left the task's code, `SystemExit` and its like included."""
    match error:
        case Discard():
            return Discarded(error=describe(error))
        case RetryAfter():
            return RetryAsked(error=describe(error), seconds=error.seconds)
        case TimeLimitExceeded():
            told = describe(error)
            return TimedOut(error=timeout_error(timeout_seconds, told.traceback))
        case errors.Cancelled():
            return Cancelled(error=describe(error))
        case _:
            return Failed(error=describe(error))


def not_begun() -> Cancelled:
    """Make the outcome of a job that was cancelled when it had its slot and its code had not begun."""
    return Cancelled(error=describe(errors.Cancelled("cancelled before its code began")))


def timeout_error(timeout_seconds: float, trace: str = "") -> ErrorInfo:
    """Describe an attempt that ran longer than it may."""
    return ErrorInfo(
        type="warren.errors.TimeLimitExceeded",
        message=f"the attempt ran longer than its timeout of {timeout_seconds:g} s",
        traceback=trace,
    )


def describe(error: BaseException) -> ErrorInfo:
    """Put an exception into text, whatever its own methods do."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorInfo(
        type=clean(name, 200),
        message=clean(_message(error), MAX_MESSAGE_CHARS),
        traceback=_trace(error),
    )


def clean(text: str, limit: int) -> str:
    """Make text fit for storing: at most `limit` characters, no NUL, no half of a surrogate pair."""
    whole = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return whole if len(whole) <= limit else whole[: limit - 1] + "…"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 - the task's own __str__ may do anything
        return f"(its message cannot be read: {type(second).__name__})"


def _trace(error: BaseException) -> str:
    try:
        told = traceback.TracebackException(type(error), error, error.__traceback__, limit=-40, compact=True)
    except Exception:
        # Exceptions with hostile attributes; the type and message are enough to go on.
        logger.warning("a traceback could not be read", exc_info=True, extra={"event": "traceback_unreadable"})
        return ""
    ours = [frame for frame in told.stack if any(part in frame.filename for part in _OUR_FILES)]
    for frame in ours:
        told.stack.remove(frame)
    text = "".join(told.format()).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text[-MAX_TRACEBACK_CHARS:]
