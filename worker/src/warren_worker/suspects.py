"""Runs of jobs whose earlier worker may have died of them: announced before they begin, and alone if need be.

The broker counts a failed delivery for every message a dying process held. So what counts here is runs, not hand-outs:
the first run of an envelope begins unannounced, every one after a redelivery is announced on the control stream first,
and a job that was announced n times has really run in n deaths. It may run max_attempts + 1 times in all, the
unannounced run being the one more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final, TypeAlias
from uuid import uuid4

from warren.control import Order, Started, encode_order
from warren.envelope import Envelope
from warren.transport import control_publication
from warren_worker.job import Job, Run
from warren_worker.outbox import Outbox
from warren_worker.timers import Timers

ALONE_AFTER: Final = 2
"""Announced runs after which a job runs alone, or one fewer than its attempts where those are few."""
LOOK_SECONDS: Final = 0.05
"""Acks leave within milliseconds."""
MAX_LOOKS: Final = 100
"""Looks after which a run begins all the same: messages that are settled unrun may come without a pause."""

Key: TypeAlias = tuple[str, int, int]


def runs_alone(job: Job) -> bool:
    """Whether nothing else may run at a worker while this job does: it ran in several deaths, and may be the cause."""
    return job.suspect and job.starts >= min(ALONE_AFTER, job.max_attempts - 1)


def may_start(job: Job, running: Collection[Run]) -> bool:
    """Decide whether a job may start now.

    Args:
        job: What is to start next. When it must wait, nothing behind it starts either, so that its turn comes.
        running: What runs at this worker.
    """
    if len(running) != 1:
        # One that runs alone is the only one.
        return not running or not runs_alone(job)
    [other] = running
    return not runs_alone(job) and not runs_alone(other.job)


def counted_again(job: Job, starts: int) -> Job:
    """Return the job with what is known now of its announced runs."""
    return replace(job, starts=starts, attempt=max(job.attempt, job.envelope.attempt + starts))


class Suspects:
    """Announces runs, and lets each begin once its announcement has come back from the stream.

    By then everything announced before it is known here too: another worker's run may have ended a moment ago, with its
    worker, and only the stream's order tells which of two announcements came first. One that runs alone waits further,
    until what ended here before it is settled: if it takes the worker down, nothing else may be charged with that.

    Args:
        outbox: Brings announcements to the broker for certain.
        timers: Who wakes us.
        starts: Tells how many runs of an envelope were announced.
        is_idle: Whether everything that ended here is settled.
        begin: Begins a run, or settles one that turned out to have no attempt left.
    """

    def __init__(
        self,
        outbox: Outbox,
        timers: Timers,
        *,
        starts: Callable[[Envelope], int],
        is_idle: Callable[[], bool],
        begin: Callable[[Run], None],
    ) -> None:
        self._outbox = outbox
        self._timers = timers
        self._starts = starts
        self._is_idle = is_idle
        self._begin = begin
        self._nonce = uuid4().hex
        self._lock = threading.Lock()
        self._waiting: dict[Key, Run] = {}
        self._withdrawn = False

    def begin(self, run: Run) -> bool:
        """Begin a run, now or after its announcement; False when it can never begin, because `withdraw` was called."""
        if not run.job.suspect:
            self._begin(run)
            return True
        run.job = counted_again(run.job, self._starts(run.job.envelope))
        with self._lock:
            if self._withdrawn:
                return False
            self._waiting[_key(run)] = run
        self._announce(run)
        return True

    def listening(self, then: Callable[[Order], None]) -> Callable[[Order], None]:
        """Return a listener that looks at each order before another does."""

        def listen(order: Order) -> None:
            if isinstance(order, Started):
                self._on_started(order)
            then(order)

        return listen

    def withdraw(self) -> list[Run]:
        """Let no more begin, and return those that wait for it."""
        with self._lock:
            self._withdrawn = True
            waiting = list(self._waiting.values())
            self._waiting.clear()
        return waiting

    def _announce(self, run: Run) -> None:
        job = run.job
        if job.exhausted:
            self._release(run)
            return
        run.announced = True
        started = Started(
            job=job.envelope.id,
            attempt=job.envelope.attempt,
            run=job.starts + 1,
            round=job.envelope.round,
            nonce=self._nonce,
        )
        self._outbox.send(control_publication(encode_order(started)))

    def _on_started(self, order: Started) -> None:
        with self._lock:
            run = self._waiting.get((order.job, order.attempt, order.round))
        if run is None or order.run <= run.job.starts:
            return
        if order.nonce != self._nonce:
            # Another worker was faster with this number: its run comes before ours.
            run.job = counted_again(run.job, order.run)
            self._announce(run)
        elif runs_alone(run.job):
            self._wait_idle(run)
        else:
            self._release(run)

    def _wait_idle(self, run: Run, *, was_idle: bool = False, looks: int = 0) -> None:
        """Begin a run when the worker was idle twice in a row, so that the acks before it have left, too."""
        is_idle = self._is_idle()
        if (is_idle and was_idle) or looks >= MAX_LOOKS:
            self._release(run)
        else:
            self._timers.after(LOOK_SECONDS, lambda: self._wait_idle(run, was_idle=is_idle, looks=looks + 1))

    def _release(self, run: Run) -> None:
        with self._lock:
            ours = self._waiting.pop(_key(run), None) is run
        if ours:
            self._begin(run)


def _key(run: Run) -> Key:
    envelope = run.job.envelope
    return envelope.id, envelope.attempt, envelope.round
