"""The outbox: jobs written in the user's transaction, to be sent once it is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert

from warren.envelope import Envelope
from warren.producer import id_maker, to_envelope
from warren.request import JobRequest
from warren.sql.tables import outbox
from warren.task import Registry, Task, default_registry


def enqueue(
    connection: Connection,
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
    registry: Registry = default_registry,
) -> str:
    """Write a job into the outbox, in the caller's transaction: it is sent if that commits, and only then.

    Args:
        connection: The connection whose transaction it belongs to; with an ORM session `session.connection()`.
        task: The task, or its name; arguments of tasks this program knows are checked now.
        arguments: Its arguments by name.
        queue: Queue to go to, instead of the task's.
        delay: Seconds from now before the job may start.
        run_at: When the job may start, with a time zone, instead of a delay.
        priority: 0 to 9, higher is served first.
        timeout: Limit of one attempt in seconds, at most the task's own.
        max_attempts: Runs before the job is a dead letter, over the task's own.
        expires_in: Seconds from now after which the job is not worth starting.
        idempotency_key: Gives the job its id, see `Producer.submit`.
        tenant: Whose job it is.
        registry: Tasks whose arguments are checked when they are named.

    Returns:
        The job's id.

    Raises:
        InvalidArguments: The arguments do not fit the task, or an option breaks its rule; nothing was written.
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
    new_id = id_maker(request.task_name, idempotency_key, tenant)
    job, delay_seconds = to_envelope(request, registry, time.time(), new_id, tenant)
    due_ms = job.enqueued_ms + delay_seconds * 1000 if delay_seconds else None
    connection.execute(insert(outbox).values(_row(job, due_ms)))
    return job.id


def read(row: Row[Any], now_ms: int) -> tuple[Envelope, int]:
    """Read a job from its row.

    Args:
        row: The row.
        now_ms: The time.

    Returns:
        The job, and its delay from now in whole seconds, rounded up so that no job is early.
    """
    job = Envelope(
        id=row.job,
        task=row.task,
        queue=row.queue,
        body=bytes(row.body),
        priority=row.priority,
        enqueued_ms=row.enqueued_ms,
        expires_ms=row.expires_ms,
        timeout_seconds=row.timeout_seconds,
        max_attempts=row.max_attempts,
        tenant=row.tenant,
    )
    return job, max(-(-((row.due_ms or 0) - now_ms) // 1000), 0)


def _row(job: Envelope, due_ms: int | None) -> dict[str, Any]:
    return {
        "job": job.id,
        "task": job.task,
        "queue": job.queue,
        "body": job.body,
        "enqueued_ms": job.enqueued_ms,
        "due_ms": due_ms,
        "expires_ms": job.expires_ms,
        "priority": job.priority,
        "timeout_seconds": job.timeout_seconds,
        "max_attempts": job.max_attempts,
        "tenant": job.tenant,
        "leased_ms": 0,
        "tries": 0,
    }
