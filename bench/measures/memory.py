"""Memory of worker and server processes: idle, with the example tasks loaded, and under load."""

from __future__ import annotations

import time

from bench.contender import Contender
from bench.drain import Drained
from bench.readings import Quantity, mebibytes
from bench.sizes import Size
from bench.stage import Stage, pids
from bench.trees import memory


def quantities(_size: Size) -> list[Quantity]:
    """Return what is measured here."""
    return [
        mebibytes("memory.idle.process", "idle worker, the process that runs the tasks, RSS"),
        mebibytes("memory.idle.tree", "idle worker with all its processes, RSS"),
        mebibytes("memory.idle.pss", "idle worker with all its processes, shared pages once"),
        mebibytes("memory.load.workers", "all workers under load, shared pages once"),
        mebibytes("memory.idle.server", "idle server, a process that answers, RSS"),
        mebibytes("memory.load.server", "server under load, all processes, shared pages once"),
    ]


def measure(stage: Stage) -> None:
    """Start one worker of each contender with nothing to do, and the server of those that have one."""
    for number, contender in stage.turns("memory"):
        stage.tell(f"  memory, round {number}: {contender.name}")
        with stage.guarded("memory", contender):
            _idle_worker(stage, contender, number)
        if contender.serves:
            with stage.guarded("memory", contender):
                _idle_server(stage, contender, number)


def note(stage: Stage, contender: Contender, drained: Drained, number: int) -> None:
    """Keep what a drain of no-op jobs took."""
    if drained.workers is not None:
        stage.note("memory.load.workers", contender, drained.workers.proportional, number)
    if drained.services is not None:
        stage.note("memory.load.server", contender, drained.services.proportional, number)


def _idle_worker(stage: Stage, contender: Contender, number: int) -> None:
    place = stage.place(contender)
    with (
        stage.running(contender, contender.workers(place, 1), place) as workers,
        stage.gauge(contender, place) as gauge,
    ):
        stage.wait(lambda: gauge.look()[1] >= contender.consumers(1), workers, "consuming")
        time.sleep(stage.size.settle_seconds)
        found = memory(pids(workers))
    stage.note("memory.idle.process", contender, found.largest, number)
    stage.note("memory.idle.tree", contender, found.resident, number)
    stage.note("memory.idle.pss", contender, found.proportional, number)


def _idle_server(stage: Stage, contender: Contender, number: int) -> None:
    place = stage.place(contender)
    with stage.running(contender, contender.services(place), place) as services:
        time.sleep(stage.size.settle_seconds)
        stage.note("memory.idle.server", contender, memory(pids(services)).largest, number)
