"""Bringing back what came due for a queue that was not there.

At least once, and safe to kill at any moment: a message leaves `warren.unroutable` only after the broker has confirmed
it elsewhere. What cannot be brought back yet goes to the end of the queue, so that no number of such messages keeps
the others from being looked at, and none is held in memory for long.
"""

from __future__ import annotations

import queue as queues
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

from warren.envelope import QUEUE_NAME, HeaderValue, Message
from warren.errors import TopologyError, Unroutable
from warren.topology import JOBS, UNROUTABLE, queue_name
from warren.transport import Delivery, Publication, Transport, dead_publication

BATCH: Final = 200
LOOK_MOST: Final = 10_000
"""Messages a dry run holds, and so looks at, at most."""
_ANSWER_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 3.0
"""Without a message for so long, somebody else has taken the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a repair did, or what it would do.

    Attributes:
        found: Messages that were unroutable when it began.
        looked_at: Messages it looked at.
        moved: Jobs brought back, by queue.
        missing: Jobs left where they are, by the queue that does not exist.
        dead: Messages that are no jobs, sent to the dead letters.
    """

    found: int
    looked_at: int
    moved: Mapping[str, int]
    missing: Mapping[str, int]
    dead: int


def repair(transport: Transport, *, create: Callable[[str], None] | None = None, dry_run: bool = False) -> Repair:
    """Bring unroutable jobs back to their queues, as far as those exist now.

    Args:
        transport: A started transport with a connection.
        create: Makes a queue by its name; without it, jobs of missing queues stay where they are.
        dry_run: Only look, and change nothing.

    Raises:
        TransportError: The broker went away or refused; what was moved so far is moved, the rest is where it was.
    """
    found = transport.depth(UNROUTABLE).result(_ANSWER_SECONDS).ready
    work = _Work(transport, None if dry_run else create)
    if found:
        work.run(min(found, LOOK_MOST) if dry_run else found, dry_run=dry_run)
    return Repair(
        found=found,
        looked_at=sum(work.moved.values()) + sum(work.missing.values()) + work.dead,
        moved=dict(sorted(work.moved.items())),
        missing=dict(sorted(work.missing.items())),
        dead=work.dead,
    )


def job_queue(message: Message) -> str | None:
    """Return the queue a job says it belongs to, or None for a message that is no job."""
    name = message.headers.get("warren-queue")
    return name if isinstance(name, str) and QUEUE_NAME.fullmatch(name) else None


class _Work:
    def __init__(self, transport: Transport, create: Callable[[str], None] | None) -> None:
        self.moved: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.dead = 0
        self._transport = transport
        self._create = create
        self._exist: dict[str, bool] = {}

    def run(self, most: int, *, dry_run: bool) -> None:
        inbox: queues.SimpleQueue[Delivery] = queues.SimpleQueue()
        subscription = self._transport.consume(UNROUTABLE, inbox.put, prefetch=most if dry_run else BATCH)
        held: list[Delivery] = []
        left = most
        try:
            while left and (batch := _collect(inbox, min(left, BATCH))):
                left -= len(batch)
                held += batch
                if dry_run:
                    self._look(batch)
                else:
                    self._move(batch)
                    held.clear()
        finally:
            subscription.stop().result(_ANSWER_SECONDS)
            for delivery in [*held, *_collect(inbox, BATCH, 0)]:
                delivery.nack()

    def _look(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            self._count(job_queue(delivery.message))

    def _move(self, batch: Sequence[Delivery]) -> None:
        sent: list[tuple[Delivery, str | None, Future[None]]] = []
        for delivery in batch:
            queue = job_queue(delivery.message)
            if queue is not None and not self._exists(queue):
                sent.append((delivery, queue, self._send_back(delivery.message)))
            else:
                sent.append((delivery, queue, self._send_on(delivery.message, queue)))
        for delivery, queue, confirm in sent:
            try:
                confirm.result(_ANSWER_SECONDS)
            except Unroutable:
                # The queue went a moment ago, or lacks its binding.
                assert queue is not None  # noqa: S101 - dead letters always have their queue
                self._exist[queue] = False
                self._send_back(delivery.message).result(_ANSWER_SECONDS)
            delivery.ack()
            self._count(queue)

    def _count(self, queue: str | None) -> None:
        if queue is None:
            self.dead += 1
        elif self._exists(queue):
            self.moved[queue] += 1
        else:
            self.missing[queue] += 1

    def _exists(self, queue: str) -> bool:
        if queue not in self._exist:
            if self._create is not None:
                self._create(queue)
            try:
                self._transport.depth(queue_name(queue)).result(_ANSWER_SECONDS)
                self._exist[queue] = True
            except TopologyError:
                self._exist[queue] = False
        return self._exist[queue]

    def _send_on(self, message: Message, queue: str | None) -> Future[None]:
        if queue is None:
            return self._publish(_as_dead(message))
        return self._publish(Publication(exchange=JOBS, routing_key=queue, message=_cleaned(message)))

    def _send_back(self, message: Message) -> Future[None]:
        return self._publish(Publication(exchange=UNROUTABLE, routing_key="", message=_cleaned(message)))

    def _publish(self, publication: Publication) -> Future[None]:
        return self._transport.publish(publication, wait_seconds=_ANSWER_SECONDS)


def _collect(inbox: queues.SimpleQueue[Delivery], most: int, wait_seconds: float = _IDLE_SECONDS) -> list[Delivery]:
    """Take what is there, waiting for the first."""
    batch: list[Delivery] = []
    while len(batch) < most:
        try:
            batch.append(inbox.get(timeout=0 if batch else wait_seconds))
        except queues.Empty:
            break
    return batch


def _cleaned(message: Message) -> Message:
    """Take off what the broker added: brokers before 4.0 drop a message whose `x-death` says it was here before."""
    headers = {name: value for name, value in message.headers.items() if not name.startswith("x-")}
    # The broker refuses a login that is not the publisher's own.
    return replace(message, headers=headers, user_id=None)


def _as_dead(message: Message) -> Publication:
    """Address a message that is no job to the dead letters, with the headers any client can send."""
    told = message.headers.get("warren-queue")
    headers: dict[str, HeaderValue] = {
        name: value for name, value in _cleaned(message).headers.items() if isinstance(value, str | int | bool | bytes)
    }
    headers |= {
        "warren-dead-reason": f"unroutable, and no job: warren-queue is {told!r:.100}, must match {QUEUE_NAME.pattern}",
        "warren-dead-outcome": "undecodable",
        "warren-dead-ms": time.time_ns() // 1_000_000,
    }
    return dead_publication(replace(message, headers=headers, user_id=None))
