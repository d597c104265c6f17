"""What a caller asks for: one job to submit, with its options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from warren.errors import InvalidArguments, Problem
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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job to submit.

    Attributes:
        task: The task, or its name.
        arguments: Its arguments by name, anything JSON can write.
        queue: Queue to go to, instead of the task's.
        delay: Seconds until the job may start.
        run_at: When the job may start, aware; instead of `delay`.
        priority: 0 to 9, higher is served first.
        timeout: Limit of one attempt in seconds.
        max_attempts: Runs before the job is a dead letter.
        expires_in: Seconds after which the job is no longer worth starting.
    """

    task: Task[..., Any] | str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    delay: float | None = None
    run_at: datetime | None = None
    priority: int = 0
    timeout: float | None = None
    max_attempts: int | None = None
    expires_in: float | None = None

    def __post_init__(self) -> None:
        if self.run_at is not None and self.run_at.tzinfo is None:
            raise ValueError(f"run_at={self.run_at.isoformat()} has no time zone; give an aware datetime")
        if self.run_at is not None and self.delay is not None:
            raise ValueError("delay and run_at are two ways to say one thing; give one")

    @property
    def task_name(self) -> str:
        """Name of the task on the wire."""
        return self.task if isinstance(self.task, str) else self.task.name


def document(job: JobRequest) -> dict[str, Any]:
    """Write a job as the JSON object the server takes; options that were not given stay out.

    Raises:
        InvalidArguments: The arguments do not fit the task (when it was given as a `Task`), or are not JSON.
    """
    options = {
        "queue": job.queue,
        "delay": job.delay,
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
    arguments = dict(job.arguments)
    if isinstance(job.task, Task):
        job.task.body(arguments)
        return arguments
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        problem = Problem(field="arguments", rule="json", message=f"not JSON: {error}")
        raise InvalidArguments(job.task_name, [problem]) from error
    return arguments
