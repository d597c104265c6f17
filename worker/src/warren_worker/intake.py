"""What a delivery is: a job to start, or something to settle at once. Pure, and cheap enough for the I/O thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from warren.envelope import Envelope, NewerEnvelope, decode
from warren.errors import EnvelopeError, UnknownTask
from warren.task import Registry
from warren.topology import DELIVERY_LIMIT, queue_name
from warren.transport import Delivery
from warren_worker import settle
from warren_worker.job import Job
from warren_worker.settle import Moment, Settlement

_PREFIX = queue_name("q").removesuffix("q")
RENEW_AFTER: Final = DELIVERY_LIMIT // 2
"""Hand-outs after which a job is published anew: at the limit the broker would take it for poison, whoever was at
fault."""


def receive(
    delivery: Delivery,
    registry: Registry,
    at: Moment,
    starts: Callable[[Envelope], int] = lambda _job: 0,
    cancels: Callable[[Envelope], bool] = lambda _job: False,
) -> Job | Settlement:
    """Decide what to do with a delivery.

    Args:
        delivery: As the broker handed it out.
        registry: The tasks this worker knows.
        at: The time, and this worker's name.
        starts: Tells how many runs of an envelope were announced.
        cancels: Whether a job is cancelled, as far as is known here.
    """
    try:
        envelope = decode(delivery.message)
    except NewerEnvelope as newer:
        return settle.park_newer(delivery.message, delivery.queue.removeprefix(_PREFIX), newer, at)
    except EnvelopeError as error:
        return settle.undecodable(delivery.message, error, at)
    started = starts(envelope)
    handed_out = max(delivery.delivery_count, started)
    attempt = envelope.attempt + handed_out
    if cancels(envelope):
        return settle.cancelled(envelope, attempt, at)
    if is_expired(envelope, at.now_ms):
        return settle.expired(envelope, attempt, at)
    try:
        task = registry.get(envelope.task)
    except UnknownTask as unknown:
        forgiven = envelope.forgiven + handed_out - started
        return settle.park(envelope.evolve(forgiven=forgiven), attempt, unknown, at)
    job = Job(envelope=envelope, task=task, attempt=attempt, redelivered=delivery.redelivered, starts=started)
    if job.exhausted:
        return settle.lost(job, at)
    return settle.renew(job) if delivery.delivery_count >= RENEW_AFTER else job


def is_expired(envelope: Envelope, now_ms: int) -> bool:
    """Whether a job is no longer worth starting."""
    return envelope.expires_ms is not None and envelope.expires_ms <= now_ms
