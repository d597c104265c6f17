"""Submitting jobs straight to the broker, without a server: for programs that may log in to RabbitMQ.

```python
with Producer() as producer:
    job_id = producer.submit(thumbnail, {"path": "a.png"}, delay=60)
```

A submit that returns is with the broker, safe on disk. The jobs' states are kept by the server alone.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeAlias

from warren import delay as ladder
from warren.envelope import (
    MAX_BODY_BYTES,
    MAX_PRIORITY,
    QUEUE_NAME,
    TASK_NAME,
    TENANT,
    Envelope,
    job_id_for_key,
    new_job_id,
)
from warren.errors import InvalidArguments, OutcomeUnknown, Problem, Unavailable, WarrenError, WindowFull
from warren.request import JobRequest, check_key
from warren.settings import BrokerSettings, load
from warren.task import Registry, Task, default_registry
from warren.topology import DEFAULT_QUEUE
from warren.transport import Publication, Transport, job_publication

DEFAULT_TIMEOUT_SECONDS: Final = 10.0

Sent: TypeAlias = tuple[Envelope, int]
"""A job and its delay in whole seconds."""


class Producer:
    """Submits jobs to the broker; a context manager. May be used from many threads, and from asyncio by `asubmit`.

    Args:
        settings: How to reach the broker; from the environment unless given.
        transport: A transport to use instead, such as a `MemoryTransport`; it is started but left running at the end.
        registry: Tasks whose arguments are checked when they are submitted by name.
        timeout_seconds: How long one submit may take in all, waiting for a connection and for room included.
    """

    def __init__(
        self,
        settings: BrokerSettings | None = None,
        transport: Transport | None = None,
        *,
        registry: Registry = default_registry,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._owns_transport = transport is None
        self._transport = transport or _connect(settings)
        self._registry = registry
        self._timeout_seconds = timeout_seconds

    def start(self) -> None:
        """Begin to connect; submits wait for the connection."""
        self._transport.start()

    def stop(self) -> None:
        """Wait for confirms under way and disconnect. Idempotent, safe before `start`."""
        if self._owns_transport:
            self._transport.stop(self._timeout_seconds)

    def __enter__(self) -> Producer:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def submit(
        self,
        task: Task[Any, Any] | str,
        arguments: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        delay: float | None = None,
        run_at: datetime | None = None,
        priority: int = 0,
        timeout: float | None = None,
        max_attempts: int | None = None,
        expires_in: float | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Submit a job and wait until the broker has it safe; the other options are those of `JobRequest`.

        An idempotency key gives the job its id, always the same one for a tenant and key. The broker does not look at
        ids: a job submitted twice is two messages of one job, with one record, and its code may run twice. Submit
        through a server to have the second one recognised when it is submitted.

        Args:
            task: The task, or its name.
            arguments: Arguments by name.
            queue: See `JobRequest`, as for those that follow.
            delay: Seconds before the job may start.
            run_at: When the job may start.
            priority: 0 to 9.
            timeout: Limit of one attempt in seconds.
            max_attempts: Runs before the job is a dead letter.
            expires_in: Seconds after which the job is not worth starting.
            idempotency_key: 1 to 255 visible ASCII characters that name this submit.
            tenant: Whose job it is.

        Returns:
            The job's id.

        Raises:
            InvalidArguments: The arguments do not fit the task, or an option breaks its rule.
            NotAccepted: The broker has certainly not taken the job.
            OutcomeUnknown: The job was sent and may or may not be with the broker.
        """
        request = JobRequest(
            task=task,
            arguments=arguments,
            queue=queue,
            delay=delay,
            run_at=run_at,
            priority=priority,
            timeout=timeout,
            max_attempts=max_attempts,
            expires_in=expires_in,
        )
        return self._send([self._job(request, idempotency_key, tenant)])[0]

    def submit_many(self, requests: Iterable[JobRequest]) -> list[str]:
        """Submit jobs, many under way at a time, and wait until the broker has them all.

        All are checked before the first is sent. When one fails on the way, its error is raised once the others are
        settled, with a note of how many were taken.

        Returns:
            The jobs' ids, in order.
        """
        return self._send([self._job(request) for request in requests])

    def publish(self, jobs: Iterable[Sent]) -> list[Exception | None]:
        """Publish jobs that were made and checked elsewhere, many under way at a time, and wait for the confirms.

        Args:
            jobs: Each with its delay in whole seconds.

        Returns:
            For each in order None when the broker has it, or why it has not, or may not have.
        """
        deadline = time.monotonic() + self._timeout_seconds
        sent: list[Future[None] | WarrenError] = []
        refused: WarrenError | None = None
        for envelope, delay_seconds in jobs:
            if refused is None:
                try:
                    sent.append(
                        self._transport.publish(job_publication(envelope, delay_seconds), wait_seconds=_left(deadline))
                    )
                    # Each that finds room has the whole time again: only standing still counts.
                    deadline = time.monotonic() + self._timeout_seconds
                    continue
                except WarrenError as error:
                    refused = error
            sent.append(refused)
        return [one if isinstance(one, WarrenError) else _outcome(one, deadline) for one in sent]

    def _send(self, jobs: list[Sent]) -> list[str]:
        return _ids(jobs, self.publish(jobs))

    async def asubmit(
        self,
        task: Task[Any, Any] | str,
        arguments: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        delay: float | None = None,
        run_at: datetime | None = None,
        priority: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109 - the job's, not this call's
        max_attempts: int | None = None,
        expires_in: float | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
    ) -> str:
        """Do what `submit` does, without blocking the event loop."""
        request = JobRequest(
            task=task,
            arguments=arguments,
            queue=queue,
            delay=delay,
            run_at=run_at,
            priority=priority,
            timeout=timeout,
            max_attempts=max_attempts,
            expires_in=expires_in,
        )
        return (await self._asend([self._job(request, idempotency_key, tenant)]))[0]

    async def asubmit_many(self, requests: Iterable[JobRequest]) -> list[str]:
        """Do what `submit_many` does, without blocking the event loop."""
        return await self._asend([self._job(request) for request in requests])

    async def _asend(self, jobs: list[Sent]) -> list[str]:
        outcomes: list[Exception | None] = []
        futures: list[asyncio.Future[None]] = []
        try:
            for envelope, delay_seconds in jobs:
                publication = job_publication(envelope, delay_seconds)
                futures.append(asyncio.wrap_future(await self._apublish(publication)))
        except WarrenError as error:
            outcomes.append(error)
        if futures:
            done, late = await asyncio.wait(futures, timeout=self._timeout_seconds)
            outcomes += [_as_exception(future.exception()) for future in done]
            outcomes += [OutcomeUnknown() for _ in late]
        return _ids(jobs, outcomes)

    async def _apublish(self, publication: Publication) -> Future[None]:
        try:
            return self._transport.publish(publication)
        except (Unavailable, WindowFull):
            return await asyncio.to_thread(self._transport.publish, publication, wait_seconds=self._timeout_seconds)

    def _job(self, request: JobRequest, key: str | None = None, tenant: str | None = None) -> Sent:
        return to_envelope(request, self._registry, time.time(), id_maker(request.task_name, key, tenant), tenant)


def id_maker(task: str, key: str | None, tenant: str | None) -> Callable[[], str]:
    """Return what makes a job's id: from its key, if it has one.

    Raises:
        InvalidArguments: The key breaks its rule.
    """
    check_key(task, key)
    return new_job_id if key is None else partial(job_id_for_key, tenant or "", key)


def to_envelope(
    request: JobRequest,
    registry: Registry,
    now: float,
    new_id: Callable[[], str] = new_job_id,
    tenant: str | None = None,
) -> tuple[Envelope, int]:
    """Check a request and turn it into an envelope and a delay in whole seconds.

    Args:
        request: The job.
        registry: Tasks whose arguments can be checked.
        now: Seconds since the epoch.
        new_id: Makes the job's id.
        tenant: Whose job it is.

    Raises:
        InvalidArguments: With every option that breaks its rule, or every argument that does not fit.
    """
    name = request.task_name
    known = _known(request.task, registry)
    queue = request.queue or (known.queue if known else DEFAULT_QUEUE)
    delay_seconds = _delay_seconds(request, now)
    problems = [
        Problem(field=field, rule=rule, message=message)
        for broken, field, rule, message in (
            (not TASK_NAME.fullmatch(name), "task", "name", f"{name!r:.120} must match {TASK_NAME.pattern}"),
            (not QUEUE_NAME.fullmatch(queue), "queue", "name", f"{queue!r:.120} must match {QUEUE_NAME.pattern}"),
            (
                tenant is not None and not TENANT.fullmatch(tenant),
                "tenant",
                "name",
                f"{tenant!r:.120} must match {TENANT.pattern}",
            ),
            *_option_rules(request, delay_seconds),
            (
                known is not None and (request.timeout or 0) > known.timeout_seconds,
                "timeout",
                "range",
                f"must be at most the task's own limit of {known.timeout_seconds if known else 0:g} s",
            ),
        )
        if broken
    ]
    if problems or delay_seconds is None:
        raise InvalidArguments(name, problems)
    enqueued_ms = int(now * 1000)
    envelope = Envelope(
        id=new_id(),
        task=name,
        queue=queue,
        body=_body(name, known, request.arguments or {}),
        priority=request.priority,
        enqueued_ms=enqueued_ms,
        expires_ms=None if request.expires_in is None else enqueued_ms + int(request.expires_in * 1000),
        timeout_seconds=request.timeout,
        max_attempts=request.max_attempts,
        tenant=tenant,
    )
    return envelope, delay_seconds


def _known(task: Task[Any, Any] | str, registry: Registry) -> Task[Any, Any] | None:
    if isinstance(task, Task):
        return task
    return registry.get(task) if task in registry else None


def _delay_seconds(request: JobRequest, now: float) -> int | None:
    """Whole seconds, rounded up so that no job is early; None when the request says it wrongly."""
    wished = request.delay or 0.0
    if request.run_at is not None:
        wished = max(request.run_at.timestamp() - now, 0.0)
    return math.ceil(wished) if 0 <= wished <= ladder.MAX_SECONDS else None


def _option_rules(request: JobRequest, delay_seconds: int | None) -> tuple[tuple[bool, str, str, str], ...]:
    return (
        (
            delay_seconds is None,
            "delay" if request.run_at is None else "run_at",
            "range",
            f"must be between 0 and {ladder.MAX_SECONDS} s from now",
        ),
        (not 0 <= request.priority <= MAX_PRIORITY, "priority", "range", f"must be between 0 and {MAX_PRIORITY}"),
        (not _is_positive(request.timeout), "timeout", "range", "must be more than 0 s and at most 30 days"),
        (not _is_positive(request.expires_in), "expires_in", "range", "must be more than 0 s and at most 30 days"),
        (
            request.max_attempts is not None and not 1 <= request.max_attempts <= 1_000_000,
            "max_attempts",
            "range",
            "must be between 1 and 1000000",
        ),
    )


def _is_positive(seconds: float | None) -> bool:
    return seconds is None or 0 < seconds <= 30 * 86400


def _body(name: str, known: Task[Any, Any] | None, arguments: Mapping[str, Any]) -> bytes:
    if known is not None:
        body = known.body(arguments)
    else:
        try:
            body = json.dumps(dict(arguments), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise InvalidArguments(
                name, [Problem(field="arguments", rule="json", message=f"not JSON: {error}")]
            ) from error
    if len(body) > MAX_BODY_BYTES:
        message = f"{len(body)} bytes as JSON, the limit is {MAX_BODY_BYTES}; pass a reference to large data"
        raise InvalidArguments(name, [Problem(field="arguments", rule="too_long", message=message)])
    return body


def _outcome(future: Future[None], deadline: float) -> Exception | None:
    try:
        return _as_exception(future.exception(_left(deadline)))
    except FutureTimeoutError:
        return OutcomeUnknown("sent, and not confirmed in time")


def _as_exception(error: BaseException | None) -> Exception | None:
    if error is None or isinstance(error, Exception):
        return error
    raise error


def _ids(jobs: list[Sent], outcomes: list[Exception | None]) -> list[str]:
    error = next((outcome for outcome in outcomes if outcome is not None), None)
    if error is None:
        return [envelope.id for envelope, _ in jobs]
    if len(jobs) > 1:
        error.add_note(f"{sum(outcome is None for outcome in outcomes)} of {len(jobs)} jobs were taken by the broker")
    raise error


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def _connect(settings: BrokerSettings | None) -> Transport:
    from warren.amqp import connect

    return connect(settings or load(BrokerSettings))
