"""What a delivery is: a job to start, or something to settle at once. Pure, and cheap enough for the I/O thread."""

from __future__ import annotations

from collections.abc import Callable

from warren.envelope import Envelope, NewerEnvelope, decode
from warren.errors import EnvelopeError, UnknownTask
from warren.task import Registry
from warren.topology import queue_name
from warren.transport import Delivery
from warren_worker import settle
from warren_worker.job import Job
from warren_worker.settle import Moment, Settlement

_PREFIX = queue_name("q").removesuffix("q")


def receive(
    delivery: Delivery, registry: Registry, at: Moment, cancels: Callable[[Envelope], bool] = lambda _envelope: False
) -> Job | Settlement:
    """Decide what to do with a delivery.

    Args:
        delivery: As the broker handed it out.
        registry: The tasks this worker knows.
        at: The time, and this worker's name.
        cancels: Whether a job is cancelled, as far as is known here.
    """
    try:
        envelope = decode(delivery.message)
    except NewerEnvelope as newer:
        return settle.park_newer(delivery.message, delivery.queue.removeprefix(_PREFIX), newer, at)
    except EnvelopeError as error:
        return settle.undecodable(delivery.message, error, at)
    attempt = envelope.attempt + delivery.delivery_count
    if cancels(envelope):
        return settle.cancelled(envelope, attempt, at)
    if is_expired(envelope, at.now_ms):
        return settle.expired(envelope, attempt, at)
    try:
        task = registry.get(envelope.task)
    except UnknownTask as unknown:
        return settle.park(envelope, attempt, unknown, at)
    job = Job(envelope=envelope, task=task, attempt=attempt, redelivered=delivery.redelivered)
    return settle.lost(job, at) if attempt > job.max_attempts else job


def is_expired(envelope: Envelope, now_ms: int) -> bool:
    """Whether a job is no longer worth starting."""
    return envelope.expires_ms is not None and envelope.expires_ms <= now_ms
