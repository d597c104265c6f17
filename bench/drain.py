"""One drain: a queue is filled, workers are started, and empty it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.contender import Contender
from bench.errors import BenchError
from bench.place import Place
from bench.recorder import Totals, totals
from bench.stage import pids
from bench.trees import Memory, cpu_seconds, memory

if TYPE_CHECKING:
    from bench.stage import Stage
    from warren.local.processes import Child

PAYLOAD: Final = 64
BEGIN: Final = 0.1
"""The clock starts when this share is done, and every process is at it."""
END: Final = 0.95
"""It stops here, before the last jobs leave some processes without work."""
STILL_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What came of a drain.

    Attributes:
        rate: Jobs a second while all processes had work; from first to last job if that was too short.
        recorded_rate: The same until every result was recorded; None when none are.
        busy: Share of the cores, as many as worker processes, that the tasks' own code had, less the broker's share.
        cpu_per_thousand: Processor seconds for 1,000 jobs, workers and services; until all results were recorded.
        broker_per_thousand: The same of the broker; None when its processes are not ours.
        workers: Memory of the workers near the end.
        services: Memory of the services near the end; None when there are none.
    """

    rate: float
    recorded_rate: float | None = None
    busy: float | None = None
    cpu_per_thousand: float | None = None
    broker_per_thousand: float | None = None
    workers: Memory | None = None
    services: Memory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """The state of things at a moment."""

    at: float
    done: Totals
    cpu: float
    broker_cpu: float
    recorded: int


class Watch:
    """Sees to a drain that goes on.

    Args:
        stage: Where it goes on.
        contender: Whose it is.
        place: Its place.
        services: Processes beside the workers.
        workers: The workers.
    """

    def __init__(
        self, stage: Stage, contender: Contender, place: Place, services: list[Child], workers: list[Child]
    ) -> None:
        self._stage = stage
        self._contender = contender
        self._place = place
        self._children = [*services, *workers]

    def until(self, done: Callable[[Totals], bool], each: Callable[[Totals], None] = lambda _totals: None) -> Totals:
        """Wait until the counts are as wanted.

        Raises:
            BenchError: Nothing was done for a minute, or a process ended.
        """
        newest = totals(self._place.records)
        each(newest)
        moved = time.monotonic()
        while not done(newest):
            time.sleep(_LOOK_SECONDS)
            before, newest = newest, totals(self._place.records)
            each(newest)
            moved = time.monotonic() if newest.jobs > before.jobs else moved
            ended = next((child for child in self._children if not child.running), None)
            if ended is not None:
                raise BenchError(ended.ended())
            if time.monotonic() > moved + STILL_SECONDS:
                raise BenchError(f"{self._contender.name}: {newest.jobs} jobs were done, then none for a minute")
        return newest

    def until_recorded(self, jobs: int, look_seconds: float = 0.05) -> None:
        """Wait until as many results are recorded, if the contender records any."""
        if self._contender.recorded(self._place) is not None:
            self._stage.wait(
                lambda: (self._contender.recorded(self._place) or 0) >= jobs,
                self._children,
                f"recorded: {jobs} results",
                timeout_seconds=600 + jobs / 100,
                look_seconds=look_seconds,
            )

    def mark(self) -> _Mark:
        """Return the state of things now."""
        return _Mark(
            at=time.monotonic(),
            done=totals(self._place.records),
            cpu=cpu_seconds(pids(self._children)),
            broker_cpu=cpu_seconds(self._stage.broker.pids),
            recorded=self._contender.recorded(self._place) or 0,
        )


def drain(stage: Stage, contender: Contender, task: str, jobs: int) -> Drained:
    """Fill a contender's queue with jobs and have its workers empty it.

    Raises:
        BenchError: It did not come to its end, or messages were left in the queue.
    """
    place = stage.place(contender)
    processes = stage.size.processes
    with stage.running(contender, contender.services(place), place) as services:
        stage.agent(contender, "fill", {"task": task, "jobs": jobs, "payload": PAYLOAD}, place)
        # Asked once beforehand: what it imports must not hold up the first mark.
        contender.recorded(place)
        with stage.running(contender, contender.workers(place, processes), place) as workers:
            watch = Watch(stage, contender, place, services, workers)
            watch.until(lambda now: now.jobs >= jobs * BEGIN and (now.processes >= processes or now.jobs >= jobs))
            begin = watch.mark()
            watch.until(lambda now: now.jobs >= jobs * END)
            end = watch.mark()
            worker_memory = memory(pids(workers))
            service_memory = memory(pids(services)) if services else None
            watch.until(lambda now: now.jobs >= jobs)
            watch.until_recorded(jobs)
            all_recorded = watch.mark()
        _check_empty(stage, contender, place)
    if begin.done.jobs >= jobs:
        stage.tell(f"    {jobs} jobs were done before every process had begun: the rate is that of all, a rough one")
        recorded_rate = jobs / (all_recorded.at - begin.done.first_ns / 1e9)
        return Drained(
            rate=overall(all_recorded.done),
            recorded_rate=recorded_rate if services else None,
            workers=worker_memory,
            services=service_memory,
        )
    counted = (all_recorded.done.jobs - begin.done.jobs) / 1000
    return Drained(
        rate=(end.done.jobs - begin.done.jobs) / (end.at - begin.at),
        recorded_rate=(jobs - begin.recorded) / (all_recorded.at - begin.at) if services else None,
        busy=_busy(begin, end, processes),
        cpu_per_thousand=(all_recorded.cpu - begin.cpu) / counted,
        broker_per_thousand=(all_recorded.broker_cpu - begin.broker_cpu) / counted if stage.broker.pids else None,
        workers=worker_memory,
        services=service_memory,
    )


def overall(done: Totals) -> float:
    """Return jobs a second from the first to the last."""
    return done.jobs / max((done.last_ns - done.first_ns) / 1e9, 1e-9)


def _busy(begin: _Mark, end: _Mark, processes: int) -> float | None:
    spent = (end.done.cpu_ns - begin.done.cpu_ns) / 1e9
    there = processes * (end.at - begin.at) - (end.broker_cpu - begin.broker_cpu)
    return spent / there if spent and there > 0 else None


def _check_empty(stage: Stage, contender: Contender, place: Place) -> None:
    with stage.gauge(contender, place) as gauge:
        stage.wait(lambda: gauge.look() == (0, 0), [], "empty: the queue, after all jobs were done", 30)
