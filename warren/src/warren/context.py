"""What a running task is told about its job, and how it talks back."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from warren.envelope import MAX_STATE_BYTES
from warren.errors import Cancelled


@dataclass(slots=True, kw_only=True)
class Context:
    """The job a task is running, handed to functions whose first parameter is a `Context` or called `ctx`.

    Attributes:
        job_id: Id of the job.
        task: Name of the task.
        queue: Name of the queue.
        attempt: Number of this run, from 1; it also grows when a worker that only held the job died.
        max_attempts: Attempts that may fail before the job is a dead letter.
        attempts_left: Further attempts the job has if this one fails.
        round: How often the job was brought back from the dead letters; attempts may count anew in each round.
        redelivered: The broker handed the job out before: an earlier run may have got anywhere.
        deadline: When this attempt is cut off, aware UTC.
        state: What the last `checkpoint` saved, or None.
        logger: A logger that carries the job's id, task and attempt.
    """

    job_id: str
    task: str
    queue: str = "default"
    attempt: int = 1
    max_attempts: int = 1
    attempts_left: int = 0
    round: int = 0
    redelivered: bool = False
    deadline: datetime = field(default_factory=lambda: datetime.max.replace(tzinfo=UTC))
    state: Any = None
    logger: logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.LoggerAdapter(logging.getLogger("warren.task"), {})
    )
    on_progress: Callable[[float, str | None], None] | None = None
    on_checkpoint: Callable[[str], None] | None = None
    is_cancelled: Callable[[], bool] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop: it was cancelled, or its worker is out of time. Long loops ask now and then.

        A worker out of time gives the job back, and whatever exception the task then leaves by costs no attempt: save a
        `checkpoint` and go.
        """
        return self.is_cancelled is not None and self.is_cancelled()

    def raise_if_cancelled(self) -> None:
        """Leave the task if the job should stop; otherwise do nothing.

        Raises:
            Cancelled: The job was cancelled, or its worker is out of time and gives it back.
        """
        if self.cancelled:
            raise Cancelled

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far the job is.

        Args:
            fraction: 0 to 1.
            message: What is being done, shown to people.

        Raises:
            ValueError: The fraction is not between 0 and 1.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"progress({fraction}): must be between 0 and 1")
        if self.on_progress is not None:
            self.on_progress(float(fraction), message)

    def checkpoint(self, state: Any) -> None:
        """Save what the next attempt needs to go on from here; it finds it in `state`.

        Args:
            state: Anything JSON can write, at most 32 KiB of it.

        Raises:
            ValueError: It is too large or not JSON.
        """
        try:
            text = json.dumps(state, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        except (TypeError, RecursionError) as error:
            raise ValueError(f"checkpoint is not JSON: {error}") from error
        if len(text.encode()) > MAX_STATE_BYTES:
            raise ValueError(f"checkpoint has {len(text.encode())} bytes, the limit is {MAX_STATE_BYTES}")
        self.state = state
        if self.on_checkpoint is not None:
            self.on_checkpoint(text)

    def idempotency_key(self, step: str) -> str:
        """Return a key for calls to other services, the same in every attempt and round of this job for this step."""
        return str(uuid5(UUID(self.job_id), step))
