"""A job's way in: request to envelope, to the broker, to the record.

The row is written after the broker's confirm, not beside it: a row beside a publish that fails, or a crash between the
two, would show a job that is queued for ever and that no worker will ever see.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from typing import Final

from warren import delay, metrics
from warren.envelope import MAX_BODY_BYTES, Envelope, new_job_id
from warren.errors import OutcomeUnknown, Problem, TransportError, Unroutable, WarrenError
from warren.events import Event, State
from warren.transport import Transport, job_publication
from warren_server.api.problems import Refusal
from warren_server.api.requests import JobRequest
from warren_server.queues import Queues
from warren_server.room import Room
from warren_server.store.writer import Writer
from warren_server.tasks import KnownTask, KnownTasks

logger = logging.getLogger(__name__)

DEFERRED: Final = "deferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which job a request makes, and whose; what is None is made up when it is submitted.

    Submitting again under the same id and time makes the same job, so that copies collapse in the record and at the
    worker. Delay and expiry count from `enqueued_ms`.

    Attributes:
        id: The job's id.
        enqueued_ms: When it was submitted first, milliseconds since the epoch.
        tenant: Whose it is; None for the tenant without a name.
    """

    id: str | None = None
    enqueued_ms: int | None = None
    tenant: str | None = None


ANEW: Final = Identity()
"""A new job of the tenant without a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job checked and ready to publish.

    Attributes:
        envelope: The job.
        delay_seconds: How long it waits on the ladder.
        due_ms: When it leaves the ladder, milliseconds since the epoch; None when it does not wait.
        max_attempts: Runs it gets, its own limit or the task's.
    """

    envelope: Envelope
    delay_seconds: int
    due_ms: int | None
    max_attempts: int

    @property
    def event(self) -> Event:
        """What the store is told of the submit."""
        job = self.envelope
        return Event(
            job=job.id,
            state=State.QUEUED if self.due_ms is None else State.SCHEDULED,
            attempt=0,
            at_ms=job.enqueued_ms,
            task=job.task,
            queue=job.queue,
            enqueued_ms=job.enqueued_ms,
            max_attempts=self.max_attempts,
            retry_at_ms=self.due_ms,
            tenant=job.tenant,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job the broker has safe.

    Attributes:
        order: The job.
        recorded: Whether the store has it too; if not, its events bring it there.
    """

    order: Order
    recorded: bool


class Submitter:
    """Takes jobs.

    Args:
        tasks: The tasks jobs may be for.
        queues: The queues they may go to.
        room: Refuses jobs for queues at their limit.
        transport: Where they are published.
        writer: Where they are recorded.
        publish_wait_seconds: How long to wait for a connection or room in the window.
        confirm_seconds: How long to wait for confirms.
    """

    def __init__(
        self,
        *,
        tasks: KnownTasks,
        queues: Queues,
        room: Room,
        transport: Transport,
        writer: Writer,
        publish_wait_seconds: float,
        confirm_seconds: float,
    ) -> None:
        self._tasks = tasks
        self._queues = queues
        self._room = room
        self._transport = transport
        self._writer = writer
        self._publish_wait_seconds = publish_wait_seconds
        self._confirm_seconds = confirm_seconds

    def submit(self, request: JobRequest, identity: Identity = ANEW) -> Accepted:
        """Take one job.

        Args:
            request: The job.
            identity: Its id, time and tenant, as far as they are given from outside.

        Raises:
            Refusal: The request cannot be honoured.
            WarrenError: The task is unknown, arguments do not fit, or the broker did not take it.
        """
        (result,) = self.submit_many([request], [identity])
        if isinstance(result, Exception):
            raise result
        return result

    def submit_many(
        self, requests: Sequence[JobRequest | Refusal], identities: Sequence[Identity] | None = None
    ) -> list[Accepted | Exception]:
        """Take several jobs: publish all, then wait for all confirms, then record all in one commit.

        Args:
            requests: The jobs; those refused already keep their place.
            identities: For each its id, time and tenant, as far as they are given from outside.

        Returns:
            For each, in order, the job or why it was not taken.
        """
        known = [ANEW] * len(requests) if identities is None else identities
        orders = [self._check(request, identity) for request, identity in zip(requests, known, strict=True)]
        confirms = self._publish(orders)
        confirmed = self._await(orders, confirms)
        taken = [order for order in confirmed if isinstance(order, Order)]
        recorded = self._writer.record([order.event for order in taken]) if taken else True
        for order in taken:
            metrics.counter("warren_jobs_submitted_total").labels(
                queue=order.envelope.queue, task=metrics.task_label(order.envelope.task, self._tasks)
            ).inc()
        return [Accepted(order=one, recorded=recorded) if isinstance(one, Order) else one for one in confirmed]

    def _check(self, request: JobRequest | Refusal, identity: Identity) -> Order | Exception:
        if isinstance(request, Refusal):
            return request
        try:
            return self._order(request, identity, time.time_ns() // 1_000_000)
        except (Refusal, WarrenError) as error:
            return error

    def _order(self, request: JobRequest, identity: Identity, now_ms: int) -> Order:
        task = self._tasks.get(request.task)
        queue = request.queue or task.queue
        enqueued_ms = now_ms if identity.enqueued_ms is None else identity.enqueued_ms
        delay_seconds = _delay(request, enqueued_ms, now_ms)
        if queue != task.queue:
            self._queues.check(queue)
        _check_timeout(request, task)
        body = task.write(request.arguments)
        if len(body) > MAX_BODY_BYTES:
            raise Refusal("too-large", f"the arguments have {len(body)} bytes, the limit is {MAX_BODY_BYTES}")
        expires_ms = None if request.expires_in is None else enqueued_ms + int(request.expires_in * 1000)
        envelope = Envelope(
            id=identity.id or new_job_id(),
            task=task.name,
            queue=queue,
            body=body,
            priority=request.priority,
            enqueued_ms=enqueued_ms,
            expires_ms=expires_ms,
            timeout_seconds=request.timeout,
            max_attempts=request.max_attempts,
            tenant=identity.tenant,
        )
        return Order(
            envelope=envelope,
            delay_seconds=delay_seconds,
            due_ms=now_ms + delay_seconds * 1000 if delay_seconds else None,
            max_attempts=request.max_attempts or task.max_attempts,
        )

    def _publish(self, orders: Sequence[Order | Exception]) -> list[Future[None] | Exception]:
        deadline = time.monotonic() + self._publish_wait_seconds
        confirms: list[Future[None] | Exception] = []
        for order in orders:
            if isinstance(order, Exception):
                confirms.append(order)
                continue
            publication = job_publication(order.envelope, order.delay_seconds)
            wait_seconds = max(deadline - time.monotonic(), 0)
            send = partial(self._transport.publish, publication, wait_seconds=wait_seconds)
            try:
                # A delayed job counts when it is due: until then it is on the ladder, not in its queue.
                confirms.append(send() if order.delay_seconds else self._room.admit(order.envelope.queue, send))
            except TransportError as error:
                confirms.append(error)
        return confirms

    def _await(
        self, orders: Sequence[Order | Exception], confirms: Sequence[Future[None] | Exception]
    ) -> list[Order | Exception]:
        deadline = time.monotonic() + self._confirm_seconds
        return [
            confirm if isinstance(confirm, Exception) else self._outcome(order, confirm, deadline)
            for order, confirm in zip(orders, confirms, strict=True)
        ]

    def _outcome(self, order: Order | Exception, confirm: Future[None], deadline: float) -> Order | Exception:
        try:
            confirm.result(max(deadline - time.monotonic(), 0))
        except FutureTimeout:
            return OutcomeUnknown(f"the broker did not confirm the job within {self._confirm_seconds:g} s")
        except Unroutable:
            queue = order.envelope.queue if isinstance(order, Order) else ""
            return Unroutable(f"queue {queue!r} does not exist; GET /v1/queues lists those that do")
        except TransportError as error:
            return error
        return order


def _check_timeout(request: JobRequest, task: KnownTask) -> None:
    if request.timeout is not None and request.timeout > task.timeout_seconds:
        problem = Problem(
            field="timeout",
            rule="less_than_equal",
            message=f"must be at most the task's own limit of {task.timeout_seconds:g} s",
        )
        raise Refusal("invalid-request", f"timeout of {request.timeout:g} s is over the task's", problems=[problem])


def _delay(request: JobRequest, enqueued_ms: int, now_ms: int) -> int:
    """Return the delay from now in whole seconds, rounded up, for a job never starts before its time."""
    if request.run_at is None:
        due_ms = enqueued_ms + (request.delay or 0) * 1000
    else:
        due_ms = int(request.run_at.timestamp() * 1000)
    seconds = max(-(-(due_ms - now_ms) // 1000), 0)
    if seconds > delay.MAX_SECONDS:
        problem = Problem(
            field="run_at", rule="less_than_equal", message=f"must be within {delay.MAX_SECONDS} s from now"
        )
        raise Refusal("invalid-request", "run_at is more than 48 days away", problems=[problem])
    return seconds
