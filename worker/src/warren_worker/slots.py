"""The jobs at hand: which wait, which run, and which is next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from warren_worker.job import Run
from warren_worker.suspects import may_start, runs_alone


@dataclass(frozen=True, slots=True)
class Ask:
    """A slot is kept for a job of this queue while its tokens are asked for, which takes milliseconds."""

    queue: str


class Gate(Protocol):
    """Says what may be started now."""

    def limited(self, queue: str) -> bool:
        """Whether jobs of a queue need tokens."""

    def may_ask(self, queue: str) -> bool:
        """Whether asking for tokens of a queue makes sense now."""


class Gauge(Protocol):
    """Shows a number."""

    def set(self, value: float) -> None:
        """Show it."""


class Slots:
    """Gives slots to waiting jobs: queues of higher priority first, in a queue and between equals first come first.

    A queue that needs tokens and gets none holds up no other. A job that has to run alone holds up all until it can.

    Args:
        count: How many jobs run at once.
        priority: Priority of a queue.
        gate: Which queues need tokens.
        gauge: Shows how many run.
        on_gone: Told of a waiting job that the broker took back, because the connection was lost.
    """

    def __init__(
        self,
        count: int,
        priority: Callable[[str], int],
        gate: Gate,
        gauge: Gauge,
        on_gone: Callable[[Run], None],
    ) -> None:
        self._on_gone = on_gone
        self._count = count
        self._priority = priority
        self._gate = gate
        self._gauge = gauge
        self._changed = threading.Condition()
        self._arrivals = 0
        self._waiting: dict[str, deque[tuple[int, Run]]] = {}
        self._running: set[Run] = set()
        self._asking: set[str] = set()

    def add(self, run: Run, admits: Callable[[], bool]) -> bool:
        """Let a job wait for its slot.

        Args:
            run: The job.
            admits: Asked in the same breath; a queue that is closed afterwards finds all its jobs by `withdraw`.

        Returns:
            Whether it was admitted.
        """
        with self._changed:
            if not admits():
                return False
            self._arrivals += 1
            self._waiting.setdefault(run.queue, deque()).append((self._arrivals, run))
            return True

    def next(self) -> Run | Ask | None:
        """Return the job that has a slot now, or a queue whose tokens are to be asked for, or None."""
        with self._changed:
            if len(self._running) + len(self._asking) >= self._count:
                return None
            for queue in self._in_order():
                if not self._may_start(queue):
                    return None
                if not self._gate.limited(queue):
                    return self._start(queue)
                if queue not in self._asking and self._gate.may_ask(queue):
                    self._asking.add(queue)
                    return Ask(queue)
            return None

    def redeem(self, queue: str, *, granted: bool) -> Run | None:
        """End an `Ask`: return the job that has the slot kept for it, or None if it is free again."""
        with self._changed:
            self._asking.discard(queue)
            self._drop_gone(queue)
            return self._start(queue) if granted and self._waiting.get(queue) and self._may_start(queue) else None

    def next_of(self, queue: str) -> Run | None:
        """Return the job that has a slot now if it is of this queue, whose tokens are at hand; otherwise None."""
        with self._changed:
            if len(self._running) + len(self._asking) >= self._count or self._in_order()[:1] != [queue]:
                return None
            return self._start(queue) if self._may_start(queue) else None

    def withdraw(self, chosen: Callable[[Run], bool]) -> list[Run]:
        """Take waiting jobs out."""
        with self._changed:
            taken: list[Run] = []
            for queue, jobs in self._waiting.items():
                kept: deque[tuple[int, Run]] = deque()
                for number, run in jobs:
                    if chosen(run):
                        taken.append(run)
                    else:
                        kept.append((number, run))
                self._waiting[queue] = kept
            return taken

    def leave(self, run: Run) -> None:
        """Free a slot."""
        with self._changed:
            self._running.discard(run)
            self._gauge.set(len(self._running))
            self._changed.notify_all()

    @property
    def running(self) -> list[Run]:
        """The jobs that have a slot."""
        with self._changed:
            return list(self._running)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a slot."""
        with self._changed:
            return sum(len(jobs) for jobs in self._waiting.values())

    def wait_idle(self, seconds: float) -> bool:
        """Wait until nothing runs; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)

    def _may_start(self, queue: str) -> bool:
        """Whether the first job of a queue may start beside those that run, and those about to, or must wait."""
        job = self._waiting[queue][0][1].job
        return may_start(job, self._running) and not (self._asking and runs_alone(job))

    def _drop_gone(self, queue: str) -> None:
        jobs = self._waiting.get(queue)
        while jobs and jobs[0][1].abandon():
            self._on_gone(jobs.popleft()[1])

    def _in_order(self) -> list[str]:
        for queue in self._waiting:
            self._drop_gone(queue)
        queues = [queue for queue, jobs in self._waiting.items() if jobs]
        if len(queues) > 1:
            queues.sort(key=lambda queue: (-self._priority(queue), self._waiting[queue][0][0]))
        return queues

    def _start(self, queue: str) -> Run:
        _, run = self._waiting[queue].popleft()
        self._running.add(run)
        self._gauge.set(len(self._running))
        return run
