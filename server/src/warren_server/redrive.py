"""What a dead letter becomes when it is redriven. Pure: letters to envelopes and events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from warren.envelope import MAX_ROUND, Envelope, Message, decode
from warren.errors import EnvelopeError
from warren.events import Event, State
from warren_server.errors import NotRedrivable
from warren_server.store.fold import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What is changed about a job when it is retried; None leaves it as it was.

    Attributes:
        body: Its arguments, checked, as JSON.
        queue: Its queue.
        delay_seconds: Whole seconds it waits first.
        max_attempts: Its limit of attempts, counted from this retry.
        timeout_seconds: Its limit of one attempt.
    """

    body: bytes | None = None
    queue: str | None = None
    delay_seconds: int = 0
    max_attempts: int | None = None
    timeout_seconds: float | None = None


AS_IT_WAS = Edits()


def envelope_of(letter: Row) -> Envelope:
    """Return the job in a dead letter.

    Raises:
        NotRedrivable: There is none.
    """
    told = json.loads(letter["message"])
    properties = ("message_id", "type", "content_type", "timestamp", "app_id", "priority")
    message = Message(
        body=letter["body"],
        headers=told.get("headers", {}),
        **{name: told[name] for name in properties if name in told},
    )
    try:
        return decode(message)
    except EnvelopeError as error:
        raise NotRedrivable(f"dead letter {letter['id']} is no job: {error}") from error


def redriven(letter: Row, known: Mapping[str, Any] | None, now_ms: int, edits: Edits = AS_IT_WAS) -> Envelope:
    """Return the job as it goes back to its queue.

    It keeps id and checkpoint. Its attempts count on, so that each stays one of a kind, but those before are forgiven:
    it has its whole budget again. One that was escalated for memory stays in the larger queue, where it got further;
    in another it may be escalated anew. It is a round further, so that its new states beat the old end. It counts as
    enqueued now, so that an order to cancel all that was there before its redrive does not reach it.

    Args:
        letter: The dead letter.
        known: What the store knows of the job, if it does.
        now_ms: The time.
        edits: What is changed.

    Raises:
        NotRedrivable: The letter is no job.
    """
    job = envelope_of(letter)
    # What the broker gave up had more attempts than its envelope says, and workers of old say nothing of rounds.
    last = max(letter["attempt"] or 0, job.attempt, known["attempt"] if known else 0)
    before = max(job.round, known["round"] if known else 0)
    return job.evolve(
        attempt=last + 1,
        forgiven=last,
        round=min(before + 1, MAX_ROUND),
        enqueued_ms=now_ms,
        expires_ms=None,
        parked_ms=None,
        parked_count=0,
        body=job.body if edits.body is None else edits.body,
        queue=edits.queue or job.queue,
        escalated_from=job.escalated_from if edits.queue in (None, job.queue) else None,
        max_attempts=edits.max_attempts or job.max_attempts,
        timeout_seconds=edits.timeout_seconds or job.timeout_seconds,
    )


def redriven_event(job: Envelope, now_ms: int, delay_seconds: int = 0) -> Event:
    """Return what the store is told of a job that went back to its queue."""
    waits = delay_seconds > 0
    return Event(
        job=job.id,
        state=State.SCHEDULED if waits else State.QUEUED,
        attempt=job.attempt - 1,
        at_ms=now_ms,
        task=job.task,
        queue=job.queue,
        enqueued_ms=job.enqueued_ms,
        max_attempts=job.max_attempts,
        retry_at_ms=now_ms + delay_seconds * 1000 if waits else None,
        tenant=job.tenant,
        round=job.round,
    )
