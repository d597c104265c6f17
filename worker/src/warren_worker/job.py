"""A job as this worker runs it: the decided part, and the live part while it runs."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from warren.context import Context
from warren.envelope import Envelope
from warren.task import Task
from warren.topology import queue_name
from warren.transport import Delivery

if TYPE_CHECKING:
    from warren_worker.progress import Throttle
    from warren_worker.tokens import Grant

_PREFIX: Final = queue_name("q").removesuffix("q")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt to be made.

    Attributes:
        envelope: The job as it came.
        task: The task it names.
        attempt: Number of this attempt: the envelope's plus the hand-outs since.
        redelivered: The broker handed it out before.
        starts: Announced runs of this envelope before this one, see `warren_worker.suspects`.
    """

    envelope: Envelope
    task: Task[Any, Any]
    attempt: int
    redelivered: bool = False
    starts: int = 0

    @property
    def counted(self) -> int:
        """Which of the attempts that count against the limit this is, from 1."""
        return max(self.envelope.attempt - self.envelope.forgiven, 1) + self.starts

    @property
    def forgiven(self) -> int:
        """How many of the hand-outs up to this attempt do not count."""
        return self.attempt - self.counted

    @property
    def suspect(self) -> bool:
        """Whether an earlier run may have killed its worker: then this one is announced before it begins.

        A run that ran out of memory and sent its job to another queue is forgiven, and killed nobody.
        """
        return self.redelivered or self.envelope.forgiven > (self.envelope.escalated_from is not None)

    @property
    def escalated(self) -> bool:
        """Whether it is where its task sends what runs out of memory: it was moved there, or submitted there."""
        return self.envelope.escalated_from is not None or self.envelope.queue == self.task.oom_queue

    @property
    def oom_queue(self) -> str | None:
        """The queue it goes to if this attempt runs out of memory; None when it has been there."""
        return None if self.escalated else self.task.oom_queue

    @property
    def memory_limit_mb(self) -> int | None:
        """Address space of this attempt's child process in MiB, or None for no limit of its own."""
        task = self.task
        return task.oom_memory_limit_mb if task.oom_queue is not None and self.escalated else task.memory_limit_mb

    @property
    def exhausted(self) -> bool:
        """Whether no attempt is left for this run."""
        return self.counted > self.max_attempts

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
        announced: Workers were told that it begins, so that it counts if this worker dies.
        out_of_time: The worker drains and gives it back.
        grant: The tokens it runs by, if its queue is limited.
        arrived: When it came, seconds on the monotonic clock.
        noticed: The task asked whether it is cancelled, and was told so.
    """

    job: Job
    delivery: Delivery
    started_ms: int = 0
    state: str | None = None
    progress: tuple[float, str | None] | None = None
    throttle: Throttle | None = None
    announced: bool = False
    out_of_time: bool = False
    grant: Grant | None = None
    arrived: float = field(default_factory=time.monotonic)
    noticed: bool = False
    _ask: Callable[[], None] | None = None
    _stop: Callable[[], None] | None = None
    _stopped: bool = False
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _claimed: bool = False

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop."""
        return self._cancelled.is_set()

    @property
    def stopped(self) -> bool:
        """Whether the job was cancelled by an order; otherwise only its worker is out of time."""
        return self._stopped

    @property
    def queue(self) -> str:
        """Name of the queue it came from."""
        return self.delivery.queue.removeprefix(_PREFIX)

    def cancel(self) -> None:
        """Ask the task to stop."""
        self._cancelled.set()
        with self._lock:
            if self._ask is not None:
                self._ask()

    def stop(self) -> None:
        """Stop the task, because the job was cancelled: a thread is asked, anything else is made to. Idempotent."""
        self._stopped = True
        self._cancelled.set()
        with self._lock:
            if self._stop is not None:
                self._stop()

    def attach(self, *, ask: Callable[[], None] | None = None, stop: Callable[[], None] | None = None) -> None:
        """Say how the task is reached while it runs elsewhere.

        Args:
            ask: Asks it to stop.
            stop: Makes it stop; called at once if that was wanted before.
        """
        with self._lock:
            self._ask, self._stop = ask, stop
            if self._stopped and stop is not None:
                stop()

    def detach(self) -> None:
        """Say that the task has ended: what it ran in may run another by now, which nobody asked to stop."""
        with self._lock:
            self._ask = self._stop = None

    def claim(self) -> bool:
        """Take the right to settle; True for the first caller only: a drain may have been faster than the task."""
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first

    def adopt(self, delivery: Delivery) -> bool:
        """Take another hand-out of the same message in place of one that is gone; False when it is too late."""
        with self._lock:
            if self._claimed or self.delivery.alive:
                return False
            self.delivery = delivery
            return True

    def abandon(self) -> bool:
        """Take the right to settle if there is nothing to settle any more: the broker hands the message out again."""
        with self._lock:
            if self._claimed or self.delivery.alive:
                return False
            self._claimed = True
            return True

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
            is_cancelled=self._look,
        )

    def _look(self) -> bool:
        """Answer the task; only a task that was told can have stopped because of it."""
        if not self._cancelled.is_set():
            return False
        self.noticed = True
        return True


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
        attempts_left=max(job.max_attempts - job.counted, 0),
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
