"""A job as this worker runs it: the decided part, and the live part while it runs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from warren.context import Context
from warren.envelope import Envelope
from warren.task import Task
from warren.transport import Delivery

if TYPE_CHECKING:
    from warren_worker.progress import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt to be made.

    Attributes:
        envelope: The job as it came.
        task: The task it names.
        attempt: Number of this attempt: the envelope's plus the broker's redeliveries.
        redelivered: The broker handed it out before.
    """

    envelope: Envelope
    task: Task[Any, Any]
    attempt: int
    redelivered: bool = False

    @property
    def timeout_seconds(self) -> float:
        """Limit of this attempt: the task's, or the job's own if it is shorter.

        Never longer than the task's: the consumer timeout follows from that, and the broker takes back what
        overruns it.
        """
        return min(self.envelope.timeout_seconds or self.task.timeout_seconds, self.task.timeout_seconds)

    @property
    def max_attempts(self) -> int:
        """Limit of attempts; the job's own beats the task's."""
        return self.envelope.max_attempts or self.task.retry.max_attempts


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """A job between its delivery and its settling.

    Attributes:
        job: What runs.
        delivery: What is settled in the end.
        started_ms: When its code began, 0 before.
        state: The newest checkpoint, JSON text, or None.
        progress: The last that the task told: fraction and message.
        throttle: Passes progress on, while it runs.
        on_cancel: Called when the run is to stop, for runs that live elsewhere.
    """

    job: Job
    delivery: Delivery
    started_ms: int = 0
    state: str | None = None
    progress: tuple[float, str | None] | None = None
    throttle: Throttle | None = None
    on_cancel: Callable[[], None] | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _claimed: bool = False

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the task to stop."""
        self._cancelled.set()
        if self.on_cancel is not None:
            self.on_cancel()

    def claim(self) -> bool:
        """Take the right to settle; True for the first caller only: a drain may have been faster than the task."""
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first

    def tell_progress(self, fraction: float, message: str | None) -> None:
        """Remember progress and pass it on."""
        self.progress = (fraction, message)
        if self.throttle is not None:
            self.throttle.tell(self)

    def save_state(self, text: str) -> None:
        """Remember a checkpoint for the next attempt."""
        self.state = text

    def context(self) -> Context:
        """Make what the task sees of its job."""
        job = self.job
        return context_for(
            job,
            deadline_ms=self.started_ms + round(job.timeout_seconds * 1000),
            on_progress=self.tell_progress,
            on_checkpoint=self.save_state,
            is_cancelled=self._cancelled.is_set,
        )


def context_for(
    job: Job,
    *,
    deadline_ms: int,
    on_progress: Callable[[float, str | None], None],
    on_checkpoint: Callable[[str], None],
    is_cancelled: Callable[[], bool],
) -> Context:
    """Make a task's context; a checkpoint that cannot be read counts as none."""
    envelope = job.envelope
    fields = {"job": envelope.id, "task": envelope.task, "attempt": job.attempt}
    return Context(
        job_id=envelope.id,
        task=envelope.task,
        queue=envelope.queue,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        round=envelope.round,
        redelivered=job.redelivered,
        deadline=datetime.fromtimestamp(deadline_ms / 1000, UTC),
        state=_read_state(envelope),
        logger=logging.LoggerAdapter(logging.getLogger("warren.task"), fields),
        on_progress=on_progress,
        on_checkpoint=on_checkpoint,
        is_cancelled=is_cancelled,
    )


def _read_state(envelope: Envelope) -> Any:
    if envelope.state is None:
        return None
    try:
        return json.loads(envelope.state)
    except (ValueError, RecursionError):
        logging.getLogger(__name__).warning(
            "the checkpoint of job %s is not JSON and is ignored",
            envelope.id,
            extra={"event": "checkpoint_unreadable", "job": envelope.id},
        )
        return None
