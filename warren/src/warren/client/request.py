"""A job as the HTTP API takes it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, TypedDict

from warren.errors import InvalidArguments, Problem
from warren.request import JobRequest
from warren.task import Task


class SubmitOptions(TypedDict, total=False):
    """Options of a submit; each one left out is the task's or the server's own.

    Attributes:
        queue: Queue to go to, instead of the task's.
        delay: Seconds until the job may start.
        run_at: When the job may start, aware; instead of `delay`.
        priority: 0 to 9, higher is served first.
        timeout: Limit of one attempt in seconds.
        max_attempts: Runs before the job is a dead letter.
        expires_in: Seconds after which the job is no longer worth starting.
    """

    queue: str | None
    delay: float | None
    run_at: datetime | None
    priority: int
    timeout: float | None
    max_attempts: int | None
    expires_in: float | None


def document(job: JobRequest) -> dict[str, Any]:
    """Write a job as the JSON object the server takes; options that were not given stay out.

    Raises:
        InvalidArguments: The arguments do not fit the task (when it was given as a `Task`), or are not JSON.
    """
    options = {
        "queue": job.queue,
        # The server counts in whole seconds, and no job is early.
        "delay": None if job.delay is None else math.ceil(job.delay),
        "run_at": None if job.run_at is None else job.run_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "priority": job.priority or None,
        "timeout": job.timeout,
        "max_attempts": job.max_attempts,
        "expires_in": job.expires_in,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"task": job.task_name, "arguments": _checked(job), **given}


def _checked(job: JobRequest) -> dict[str, Any]:
    """Check here what can be checked here, so that a mistake shows where it was made."""
    arguments = dict(job.arguments or {})
    if isinstance(job.task, Task):
        job.task.body(arguments)
        return arguments
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        problem = Problem(field="arguments", rule="json", message=f"not JSON: {error}")
        raise InvalidArguments(job.task_name, [problem]) from error
    return arguments
