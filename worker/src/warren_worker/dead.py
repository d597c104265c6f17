"""Dead letters: the message that died, with why, when, where and of what in headers the store reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from warren.envelope import HeaderValue, Message
from warren.events import ErrorInfo
from warren.transport import Publication, dead_publication
from warren_worker.outcome import clean

DeadOutcome: TypeAlias = Literal[
    "failed", "timeout", "crashed", "out-of-memory", "discarded", "invalid", "lost", "undecodable"
]

MAX_HEADER_BYTES: Final = 120 * 1024
"""All headers travel in one frame, and `frame_max` is 128 KiB; the rest is room for properties and framing."""
MAX_STRANGE_HEADERS_BYTES: Final = 32 * 1024
_ROW_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Why a job is dead.

    Attributes:
        reason: Why there is no further attempt, as a sentence.
        outcome: How the last attempt ended, one word.
        error: What went wrong in it.
        worker: Who says so.
        dead_ms: When.
        attempt: The last attempt.
        started_ms: When that attempt's code began, if it did.
        image: The image that ran it, if it is known.
    """

    reason: str
    outcome: DeadOutcome
    error: ErrorInfo
    worker: str
    dead_ms: int
    attempt: int
    started_ms: int | None = None
    image: str = ""


def dead_letter(message: Message, death: Death) -> Publication:
    """Address a message to the dead letters with its cause of death.

    The traceback is cut to what the header frame has room for, and after it the job's own headers, strange ones first.
    """
    headers: dict[str, HeaderValue] = {
        **_kept(message),
        "warren-dead-reason": clean(death.reason, 1024),
        "warren-dead-outcome": death.outcome,
        "warren-dead-ms": death.dead_ms,
        "warren-dead-attempt": death.attempt,
        "warren-worker": clean(death.worker, 255),
        "warren-error-type": clean(death.error.type, 255),
        "warren-error-message": clean(death.error.message, 2048),
    }
    if death.image:
        headers["warren-image"] = clean(death.image, 255)
    if death.started_ms is not None:
        headers["warren-started-ms"] = death.started_ms
    room = MAX_HEADER_BYTES - size(headers) - _ROW_BYTES - len("warren-error-traceback")
    headers["warren-error-traceback"] = _last_bytes(death.error.traceback, max(room, 0))
    # The broker refuses a login that is not the publisher's own.
    return dead_publication(replace(message, headers=headers, user_id=None))


def size(headers: dict[str, HeaderValue]) -> int:
    """Count the bytes of a header table, a little too high."""
    return sum(
        len(name.encode("utf-8", "replace")) + _ROW_BYTES + _value_size(value) for name, value in headers.items()
    )


def _kept(message: Message) -> dict[str, HeaderValue]:
    """Return the headers worth keeping, in a form every client can send, as far as there is room."""
    kept: dict[str, HeaderValue] = {}
    room = MAX_HEADER_BYTES - 16 * 1024
    strange_room = MAX_STRANGE_HEADERS_BYTES
    for name, value in sorted(message.headers.items(), key=lambda item: not _is_ours(item[0])):
        if name.startswith("x-") or len(name.encode("utf-8", "replace")) > 128:
            continue
        plain = _plain(value)
        cost = size({name: plain})
        if cost > room or (not _is_ours(name) and cost > strange_room):
            continue
        room -= cost
        strange_room -= 0 if _is_ours(name) else cost
        kept[clean(name, 128)] = plain
    return kept


def _is_ours(name: str) -> bool:
    return name.startswith("warren-") or name == "traceparent"


def _plain(value: object) -> HeaderValue:
    match value:
        case bool() | bytes():
            return value
        case int() if -(2**63) <= value < 2**63:
            # A plain int: clients have kinds of their own.
            return int(value)
        case str():
            return clean(value, MAX_HEADER_BYTES)
        case _:
            return clean(f"{value!r:.1000}", 1000)


def _value_size(value: HeaderValue) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    return len(value) if isinstance(value, bytes) else 8


def _last_bytes(text: str, limit: int) -> str:
    return text.encode()[-limit:].decode(errors="ignore") if limit else ""
