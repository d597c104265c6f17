"""The model: a queue, workers that hold and run its jobs, and events in the order of their time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from warren.simulation.traces import Arrival, Trace

SAMPLE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is the same for all rules.

    Attributes:
        minimum: Fewest workers.
        maximum: Most workers.
        concurrency: Jobs that a worker runs at once.
        slo_seconds: How long a job may wait; for the rule that can be told.
        start_seconds: From the request for a worker to its first job: schedule, pull, start, connect.
        grace_seconds: How long a worker that is terminated may finish what it runs.
        stats_seconds: How often the broker counts its queues (`collect_statistics_interval`).
    """

    minimum: int = 0
    maximum: int = 20
    concurrency: int = 1
    slo_seconds: float = 30.0
    start_seconds: float = 4.0
    grace_seconds: float = 30.0
    stats_seconds: float = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A job on its way.

    Attributes:
        arrived: When it came.
        run_seconds: How long a run takes.
        failures: Runs that are still to fail.
        fails: Runs that failed.
        started: A run of it began once.
    """

    arrived: float
    run_seconds: float
    failures: int = 0
    fails: int = 0
    started: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Worker:
    """A worker.

    Attributes:
        number: Which one it is.
        began: When it was asked for.
        ready: It takes jobs, or took them.
        draining: It takes no more.
        terminated: It was told to end.
        running: Its running jobs, and when each began.
        waiting: Jobs it holds that do not run yet.
    """

    number: int
    began: float
    ready: bool = False
    draining: bool = False
    terminated: bool = False
    running: dict[Job, float] = field(default_factory=dict)
    waiting: deque[Job] = field(default_factory=deque)

    @property
    def held(self) -> int:
        """Jobs that were handed out to it."""
        return len(self.running) + len(self.waiting)

    @property
    def takes(self) -> bool:
        """Whether it takes jobs."""
        return self.ready and not self.draining and not self.terminated


@dataclass(slots=True)
class Record:
    """What came of a replay.

    Attributes:
        waits: For each first start of a job: when it was, and how long the job had waited.
        samples: Each second: time, jobs that wait, jobs that run, workers that are up, workers that there are.
        worker_seconds: How long all workers were there, together.
        interrupted: Runs that were cut short.
        returned: Jobs handed back unrun.
        finished: Jobs that are done, and when the last one was.
        finished_at: When the last job was done.
    """

    waits: list[tuple[float, float]] = field(default_factory=list)
    samples: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    worker_seconds: float = 0.0
    interrupted: int = 0
    returned: int = 0
    finished: int = 0
    finished_at: float = 0.0


class World:
    """Plays a trace. A rule schedules its own looks with `every` and then starts, drains and terminates workers.

    Args:
        trace: What comes.
        setup: What it comes to.
        rng: Source of everything that is not certain.
        held: Jobs that a worker holds at most.
        clings: A worker that is terminated gives back what it holds only when it ends.
    """

    def __init__(self, trace: Trace, setup: Setup, rng: Random, *, held: int, clings: bool = False) -> None:
        self.setup = setup
        self.rng = rng
        self.now = 0.0
        self.record = Record()
        self.workers: list[Worker] = []
        self.ended_runs: list[float] = []
        self._held = held
        self._clings = clings
        self._horizon = trace.horizon_seconds
        self._total = len(trace.arrivals)
        self._queue: deque[Job] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._counted = (0, 0)
        self._numbers = 0
        self._events_made = 0
        for arrival in trace.arrivals:
            self._at(arrival.at_seconds, lambda arrival=arrival: self._arrive(arrival))  # type: ignore[misc]
        self.every(setup.stats_seconds, self._count)
        self.every(SAMPLE_SECONDS, self._sample, offset=0.0)

    @property
    def counted(self) -> tuple[int, int]:
        """Jobs ready and unacknowledged, as the broker counted them last."""
        return self._counted

    @property
    def ready(self) -> int:
        """Jobs that wait at the broker at this moment."""
        return len(self._queue)

    @property
    def staying(self) -> list[Worker]:
        """Workers that were not told to end."""
        return [worker for worker in self.workers if not worker.terminated]

    def every(self, seconds: float, call: Callable[[], None], offset: float | None = None) -> None:
        """Call something again and again, first after a part of the interval."""

        def again() -> None:
            call()
            self._at(self.now + seconds, again)

        self._at(self.rng.uniform(0, seconds) if offset is None else offset, again)

    def run(self) -> Record:
        """Play to the end of the trace."""
        while self._events:
            at, _, call = heapq.heappop(self._events)
            if at > self._horizon:
                break
            self.record.worker_seconds += len(self.workers) * (at - self.now)
            self.now = at
            call()
            if self.record.finished == self._total and not self.workers:
                break
        return self.record

    def start(self, count: int) -> None:
        """Ask for workers."""
        for _ in range(count):
            self._numbers += 1
            worker = Worker(number=self._numbers, began=self.now)
            self.workers.append(worker)
            self._at(self.now + self.setup.start_seconds, lambda worker=worker: self._come_up(worker))  # type: ignore[misc]

    def drain(self, worker: Worker) -> None:
        """Let a worker take no more; what it holds and does not run goes back."""
        worker.draining = True
        self._give_back(worker)
        self._dispatch()

    def undrain(self, worker: Worker) -> None:
        """Let a worker take jobs again."""
        worker.draining = False
        self._dispatch()

    def terminate(self, worker: Worker) -> None:
        """Tell a worker to end: it takes no more, may finish what it runs within its grace, and is killed then."""
        worker.terminated = True
        if not self._clings:
            self._give_back(worker)
            self._dispatch()
        if worker.running:
            self._at(self.now + self.setup.grace_seconds, lambda: self._end(worker))
        else:
            self._end(worker)

    def _at(self, at: float, call: Callable[[], None]) -> None:
        self._events_made += 1
        heapq.heappush(self._events, (at, self._events_made, call))

    def _arrive(self, arrival: Arrival) -> None:
        self._queue.append(Job(arrived=self.now, run_seconds=arrival.run_seconds, failures=arrival.failures))
        self._dispatch()

    def _come_up(self, worker: Worker) -> None:
        if not worker.terminated:
            worker.ready = True
            self._dispatch()

    def _dispatch(self) -> None:
        """Hand out jobs in turn, as a broker does to consumers that have room."""
        taking = deque(worker for worker in self.workers if worker.takes and worker.held < self._held)
        while self._queue and taking:
            worker = taking.popleft()
            worker.waiting.append(self._queue.popleft())
            self._begin(worker)
            if worker.held < self._held:
                taking.append(worker)

    def _begin(self, worker: Worker) -> None:
        while worker.waiting and len(worker.running) < self.setup.concurrency and not worker.terminated:
            job = worker.waiting.popleft()
            worker.running[job] = self.now
            if not job.started:
                job.started = True
                self.record.waits.append((self.now, self.now - job.arrived))
            self._at(self.now + job.run_seconds, lambda job=job, began=self.now: self._done(worker, job, began))  # type: ignore[misc]

    def _done(self, worker: Worker, job: Job, began: float) -> None:
        if worker.running.get(job) != began or worker not in self.workers:
            return
        del worker.running[job]
        self.ended_runs.append(job.run_seconds)
        if job.failures:
            job.failures -= 1
            job.fails += 1
            self._at(self.now + 2.0 ** (job.fails - 1), lambda: self._again(job))
        else:
            self.record.finished += 1
            self.record.finished_at = self.now
        if worker.terminated:
            if not worker.running:
                self._end(worker)
            return
        self._begin(worker)
        self._dispatch()

    def _again(self, job: Job) -> None:
        self._queue.append(job)
        self._dispatch()

    def _end(self, worker: Worker) -> None:
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        cut = list(worker.running)
        self.record.interrupted += len(cut)
        worker.running.clear()
        for job in reversed(cut):
            self._queue.appendleft(job)
        self._give_back(worker)
        self._dispatch()

    def _give_back(self, worker: Worker) -> None:
        self.record.returned += len(worker.waiting)
        self._queue.extendleft(reversed(worker.waiting))
        worker.waiting.clear()

    def _count(self) -> None:
        self._counted = (len(self._queue), sum(worker.held for worker in self.workers))

    def _sample(self) -> None:
        waiting = len(self._queue) + sum(len(worker.waiting) for worker in self.workers)
        running = sum(len(worker.running) for worker in self.workers)
        up = sum(worker.ready for worker in self.workers)
        self.record.samples.append((self.now, waiting, running, up, len(self.workers)))
