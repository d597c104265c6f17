"""Messages of `warren.dead` as rows and events: from workers, from the broker, or from who knows where."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from warren.envelope import Envelope, Message, decode
from warren.errors import EnvelopeError
from warren.events import ErrorInfo, Event, State
from warren_server.store.fold import Row

UNDECODABLE: Final = "undecodable"
"""Outcome of what is no job."""
_MAX_TEXT: Final = 32 * 1024
_MAX_INTEGER: Final = 2**53


def dead_row(message: Message) -> Row:
    """Return the row that keeps a dead letter."""
    job = _job(message)
    error = _error(message)
    return {
        "id": _content_id(message) if job is None else job.id,
        "job": None if job is None else job.id,
        "task": None if job is None else job.task,
        "queue": None if job is None else job.queue,
        "reason": _text(message, "warren-dead-reason") or _broker_reason(message) or _undecodable(message),
        "attempt": _integer(message, "warren-dead-attempt") or (0 if job is None else job.attempt),
        "at_ms": _at_ms(message, job),
        "worker": _text(message, "warren-worker"),
        "outcome": _outcome(message, job),
        "image": _text(message, "warren-image"),
        **_columns(error),
        "body": message.body,
        "message": _metadata(message),
    }


def dead_event(message: Message) -> Event | None:
    """Return what a dead letter says of its job, or None when it is no job."""
    job = _job(message)
    if job is None:
        return None
    by_broker = _text(message, "warren-dead-reason") is None
    reason = _broker_reason(message) or "dead for no reason given"
    return Event(
        job=job.id,
        state=State.DEAD,
        attempt=_integer(message, "warren-dead-attempt") or job.attempt,
        at_ms=_at_ms(message, job),
        task=job.task,
        queue=job.queue,
        enqueued_ms=job.enqueued_ms,
        worker=_text(message, "warren-worker") or "",
        started_ms=_integer(message, "warren-started-ms"),
        max_attempts=job.max_attempts,
        outcome=_outcome(message, job),
        error=_error(message) or (ErrorInfo(type="DeadLettered", message=reason) if by_broker else None),
        tenant=job.tenant,
        round=job.round,
    )


def rejected_row(message: Message, queue: str, reason: str) -> Row:
    """Return the row that keeps a message the store could make nothing of, so that it is not lost."""
    return {
        "id": _content_id(message),
        "job": None,
        "task": None,
        "queue": None,
        "reason": f"message of {queue}: {reason}"[:1000].replace("\x00", "\ufffd"),
        "attempt": 0,
        "at_ms": time.time_ns() // 1_000_000,
        "worker": None,
        "outcome": UNDECODABLE,
        "image": None,
        **_columns(None),
        "body": message.body,
        "message": _metadata(message),
    }


def _outcome(message: Message, job: Envelope | None) -> str:
    """Say in a word how it ended; what the broker gave up was handed out until its workers died of it."""
    told = _text(message, "warren-dead-outcome")
    if told is not None:
        return told[:100]
    if job is None:
        return UNDECODABLE
    return "crashed" if _text(message, "warren-dead-reason") is None else "failed"


def _job(message: Message) -> Envelope | None:
    try:
        return decode(message)
    except EnvelopeError:
        return None


def _undecodable(message: Message) -> str:
    try:
        decode(message)
    except EnvelopeError as error:
        return str(error)[:1000].replace("\x00", "\ufffd")
    return "dead for no reason given"


def _broker_reason(message: Message) -> str | None:
    """Say why the broker itself dead-lettered a message, by its `x-death` header."""
    deaths = message.headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[0], Mapping):
        return None
    last = deaths[0]
    reason = {
        "delivery_limit": "handed out too often without being settled: its workers die",
        "rejected": "rejected",
        "maxlen": "its queue was over its limit",
        "expired": "expired in its queue",
    }.get(str(last.get("reason")), str(last.get("reason"))[:100])
    return f"dead-lettered by the broker from {str(last.get('queue'))[:200]}: {reason}".replace("\x00", "\ufffd")


def _at_ms(message: Message, job: Envelope | None) -> int:
    """When it died: as the worker says, else as the broker says; the same in every hand-out where that can be."""
    told = _integer(message, "warren-dead-ms")
    if told:
        return told
    deaths = message.headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping):
        at: object = deaths[0].get("time")
        seconds = at.timestamp() if isinstance(at, datetime) else at
        if isinstance(seconds, int | float) and 0 < seconds < _MAX_INTEGER / 1000:
            return int(seconds * 1000)
    return job.enqueued_ms if job is not None and job.enqueued_ms else time.time_ns() // 1_000_000


def _error(message: Message) -> ErrorInfo | None:
    kind = _text(message, "warren-error-type")
    if kind is None:
        return None
    told = _text(message, "warren-error-message") or ""
    return ErrorInfo(type=kind, message=told, traceback=_text(message, "warren-error-traceback") or "")


def _columns(error: ErrorInfo | None) -> Row:
    return {
        "error_type": None if error is None else error.type,
        "error_message": None if error is None else error.message,
        "error_traceback": None if error is None else error.traceback or None,
    }


def _text(message: Message, name: str) -> str | None:
    value = message.headers.get(name)
    return value[-_MAX_TEXT:].replace("\x00", "\ufffd") if isinstance(value, str) else None


def _integer(message: Message, name: str) -> int | None:
    value = message.headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_INTEGER else None


def _content_id(message: Message) -> str:
    """Make the same id for the same message in every hand-out."""
    digest = hashlib.sha256(_metadata(message).encode() + b"\0" + message.body).digest()
    return str(UUID(bytes=digest[:16], version=5))


def _metadata(message: Message) -> str:
    properties = ("message_id", "type", "content_type", "timestamp", "app_id", "priority", "user_id")
    told = {name: getattr(message, name) for name in properties}
    kept: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    # ASCII, and without NUL, which PostgreSQL's text cannot hold.
    text = json.dumps({**kept, "headers": dict(message.headers)}, default=_plain, sort_keys=True)
    return text.replace("\\u0000", "\\ufffd")


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)[:1000]
