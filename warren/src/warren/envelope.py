"""The wire message, version 1: how a job travels through the broker.

The body is the JSON object of the arguments; everything else is metadata in AMQP properties and headers, so that any
language can produce a job. The specification is `docs/reference/message-format.md`; `tests/golden/` holds vectors.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from uuid import UUID, uuid5

from warren.errors import EnvelopeError

VERSION: Final = 1
APP_ID: Final = "warren"
CONTENT_TYPE: Final = "application/json"
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_PRIORITY: Final = 9
MAX_ROUND: Final = 2**20
MAX_STATE_BYTES: Final = 32 * 1024
"""A checkpoint travels in the header frame, which must fit `frame_max` (131,072 bytes) whole."""

TASK_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_.]{0,99}", re.ASCII)
QUEUE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,189}", re.ASCII)
"""No dots: the name is one word of the delay ladder's routing key, which the broker caps at 255 bytes."""
JOB_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}", re.ASCII)
TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

HeaderValue: TypeAlias = str | int | bool | bytes | float | None | list["HeaderValue"] | dict[str, "HeaderValue"]

_NAMESPACE: Final = UUID("5d1f1c9a-52cb-5c39-9b6e-1a7a5a4c8f10")


def new_job_id() -> str:
    """Make a UUIDv7 (RFC 9562): sorts by the time of its making, to the millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return str(UUID(int=value))


def job_id_for_key(tenant: str, key: str) -> str:
    """Make the job id of an idempotent submit: the same tenant and key always give the same id (UUIDv5)."""
    return str(uuid5(_NAMESPACE, f"{len(tenant)}:{tenant}{key}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as transports carry it: a body with AMQP properties and headers, always persistent.

    Attributes:
        body: The payload, bytes as sent.
        message_id: Id of the job, or of the batch for events.
        type: Name of the task, or of the kind of message.
        content_type: Media type of the body.
        timestamp: Seconds since the epoch, or None.
        app_id: Who made the message.
        priority: 0 to 9, higher is served first.
        user_id: Login of the publisher, checked by the broker when set.
        headers: AMQP header table.
    """

    body: bytes
    message_id: str | None = None
    type: str | None = None
    content_type: str | None = None
    timestamp: int | None = None
    app_id: str | None = None
    priority: int | None = None
    user_id: str | None = None
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One job on its way, decoded.

    Attributes:
        id: Job id, a UUID in its canonical lower-case form.
        task: Name of the task to run.
        queue: Name of the queue the job belongs to; retries go back there.
        body: JSON object of the arguments, UTF-8, at most 1 MiB.
        attempt: Number of the attempt this message is for, from 1; the broker's redeliveries come on top.
        priority: 0 to 9.
        enqueued_ms: When the job was submitted, milliseconds since the epoch.
        expires_ms: When the job is no longer worth starting, or None.
        timeout_seconds: Limit of one attempt, at most the task's own, or None.
        max_attempts: Limit of attempts, over the task's own, or None.
        state: Last checkpoint of the task, JSON, or None.
        tenant: Whose job it is, or None.
        traceparent: W3C trace context of the submit, or None.
        parked_ms: Since when the job waits for a worker that knows its task, or None.
        parked_count: How often it was parked.
        forgiven: How many of the hand-outs behind `attempt` do not count against the limit: the job was only held by a
            worker that died, or given back, and its code was not at fault.
        round: How often the job was brought back from the dead letters; a later round's states beat an earlier one's.
        escalated_from: The queue the job left for its task's `oom_queue` when it ran out of memory, or None. A job that
            has it is not escalated again.
    """

    id: str
    task: str
    queue: str
    body: bytes = b"{}"
    attempt: int = 1
    priority: int = 0
    enqueued_ms: int = 0
    expires_ms: int | None = None
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    state: str | None = None
    tenant: str | None = None
    traceparent: str | None = None
    parked_ms: int | None = None
    parked_count: int = 0
    forgiven: int = 0
    round: int = 0
    escalated_from: str | None = None

    def evolve(self, **changes: object) -> Envelope:
        """Return the same job with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def encode(envelope: Envelope) -> Message:
    """Turn a job into its wire message.

    Nothing but Warren's own headers goes out: `x-death` and relatives of the delivery that led here are left behind,
    because brokers before 4.0 take a republish that carries them for a dead-letter loop and drop the message.
    """
    headers: dict[str, HeaderValue] = {
        "warren-v": VERSION,
        "warren-queue": envelope.queue,
        "warren-attempt": envelope.attempt,
        "warren-enqueued-ms": envelope.enqueued_ms,
    }
    optional: dict[str, HeaderValue] = {
        "warren-expires-ms": envelope.expires_ms,
        # Text, because AMQP clients do not agree on floats in header tables.
        "warren-timeout-s": _decimal(envelope.timeout_seconds),
        "warren-max-attempts": envelope.max_attempts,
        "warren-state": envelope.state,
        "warren-tenant": envelope.tenant,
        "traceparent": envelope.traceparent,
        "warren-parked-ms": envelope.parked_ms,
        "warren-parked-count": envelope.parked_count or None,
        "warren-forgiven": envelope.forgiven or None,
        "warren-round": envelope.round or None,
        "warren-escalated-from": envelope.escalated_from,
    }
    headers.update((name, value) for name, value in optional.items() if value is not None)
    return Message(
        body=envelope.body,
        message_id=envelope.id,
        type=envelope.task,
        content_type=CONTENT_TYPE,
        timestamp=envelope.enqueued_ms // 1000,
        app_id=APP_ID,
        priority=envelope.priority,
        headers=headers,
    )


def decode(message: Message) -> Envelope:
    """Read a wire message.

    Never raises anything but `EnvelopeError`, whatever the bytes; the error carries the message.
    The body is not parsed here: it is checked against the task's signature when the task is known.

    Raises:
        EnvelopeError: A property or header is missing, of another type or out of range.
    """
    read = _Reader(message)
    version = read.integer("warren-v", low=1)
    if version is None:
        raise EnvelopeError("header warren-v is missing: this message is not a Warren job", message)
    if version > VERSION:
        raise NewerEnvelope(version, message)
    if message.content_type != CONTENT_TYPE:
        raise EnvelopeError(f"content_type is {message.content_type!r}, must be {CONTENT_TYPE}", message)
    if len(message.body) > MAX_BODY_BYTES:
        raise EnvelopeError(f"body has {len(message.body)} bytes, the limit is {MAX_BODY_BYTES}", message)
    return Envelope(
        id=read.matching("message_id", message.message_id, JOB_ID),
        task=read.matching("type", message.type, TASK_NAME),
        queue=read.matching("warren-queue", read.text("warren-queue"), QUEUE_NAME),
        body=message.body,
        attempt=read.integer("warren-attempt", low=1, high=1_000_000) or 1,
        priority=read.priority(),
        enqueued_ms=read.integer("warren-enqueued-ms", low=0) or 0,
        expires_ms=read.integer("warren-expires-ms", low=0),
        timeout_seconds=read.seconds("warren-timeout-s"),
        max_attempts=read.integer("warren-max-attempts", low=1, high=1_000_000),
        state=read.text("warren-state"),
        tenant=read.text("warren-tenant"),
        traceparent=read.text("traceparent"),
        parked_ms=read.integer("warren-parked-ms", low=0),
        parked_count=read.integer("warren-parked-count", low=0) or 0,
        forgiven=read.integer("warren-forgiven", low=0, high=1_000_000) or 0,
        round=read.integer("warren-round", low=0, high=MAX_ROUND) or 0,
        escalated_from=read.queue("warren-escalated-from"),
    )


def _decimal(seconds: float | None) -> str | None:
    """Write seconds to the nanosecond, without an exponent."""
    return None if seconds is None else f"{seconds:.9f}".rstrip("0").rstrip(".")


class NewerEnvelope(EnvelopeError):
    """The message is of a newer version than this program reads; it is parked, not dead-lettered.

    Attributes:
        version: The version the message claims.
    """

    def __init__(self, version: int, raw: Message) -> None:
        self.version = version
        super().__init__(f"envelope version {version} is newer than {VERSION}, the newest this worker reads", raw)


class _Reader:
    """Reads typed headers of one message; every refusal names the header, the value and the rule."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def text(self, name: str) -> str | None:
        value = self._message.headers.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self._refuse(name, value, "must be text")

    def integer(self, name: str, *, low: int, high: int = 2**63 - 1) -> int | None:
        value = self._message.headers.get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._refuse(name, value, "must be an integer")
        if not low <= value <= high:
            raise self._refuse(name, value, f"must be between {low} and {high}")
        return value

    def seconds(self, name: str) -> float | None:
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) or float(text) <= 0:
            raise self._refuse(name, text, "must be a positive decimal number of seconds, as text")
        return float(text)

    def queue(self, name: str) -> str | None:
        value = self.text(name)
        return None if value is None else self.matching(name, value, QUEUE_NAME)

    def priority(self) -> int:
        value = self._message.priority or 0
        return min(max(value, 0), MAX_PRIORITY)

    def matching(self, name: str, value: str | None, pattern: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self._refuse(name, value, f"must match {pattern.pattern}")
        return value

    def _refuse(self, name: str, value: object, rule: str) -> EnvelopeError:
        return EnvelopeError(f"{name} is {value!r:.120}, {rule}", self._message)
