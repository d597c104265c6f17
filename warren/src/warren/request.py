"""What a caller asks for: one job to submit, with its options; the same over HTTP and straight to the broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from warren.envelope import IDEMPOTENCY_KEY
from warren.errors import InvalidArguments, Problem
from warren.task import Task


def check_key(task: str, key: str | None) -> None:
    """Check an idempotency key, if there is one.

    Raises:
        InvalidArguments: It is not 1 to 255 visible ASCII characters.
    """
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        message = f"{key!r:.120} must be 1 to 255 visible ASCII characters"
        raise InvalidArguments(task, [Problem(field="idempotency_key", rule="pattern", message=message)])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job to submit.

    Attributes:
        task: The task, or its name.
        arguments: Arguments by name, anything JSON can write.
        queue: Queue to go to, instead of the task's.
        delay: Seconds before the job may start, up to 48 days; parts of a second are rounded up.
        run_at: When the job may start, with a time zone, instead of a delay.
        priority: 0 to 9, higher is served first.
        timeout: Limit of one attempt in seconds, at most the task's own.
        max_attempts: Runs before the job is a dead letter, over the task's own.
        expires_in: Seconds from now after which the job is not worth starting.

    Raises:
        InvalidArguments: `run_at` has no time zone, or comes with a delay.
    """

    task: Task[..., Any] | str
    arguments: Mapping[str, Any] | None = None
    queue: str | None = None
    delay: float | None = None
    run_at: datetime | None = None
    priority: int = 0
    timeout: float | None = None
    max_attempts: int | None = None
    expires_in: float | None = None

    def __post_init__(self) -> None:
        if self.run_at is None:
            return
        if self.run_at.tzinfo is None:
            self._refuse("timezone", f"{self.run_at.isoformat()} has no time zone; give an aware datetime")
        if self.delay is not None:
            self._refuse("range", "delay and run_at are two ways to say one thing; give one")

    @property
    def task_name(self) -> str:
        """Name of the task on the wire."""
        return self.task if isinstance(self.task, str) else self.task.name

    def _refuse(self, rule: str, message: str) -> None:
        raise InvalidArguments(self.task_name, [Problem(field="run_at", rule=rule, message=message)])
