"""Start-up: from the start of a process until it has done its first job, or answers that it is ready."""

from __future__ import annotations

import time

from bench.contender import Contender
from bench.drain import Watch
from bench.readings import Quantity
from bench.sizes import Size
from bench.stage import Stage


def quantities(_size: Size) -> list[Quantity]:
    """Return what is measured here."""
    return [
        Quantity(id="startup.worker", title="worker, to its first job done", unit="s", better="lower"),
        Quantity(id="startup.server", title="server, to ready", unit="s", better="lower"),
    ]


def measure(stage: Stage) -> None:
    """Start one worker of each contender with one job in its queue, and the server of those that have one."""
    for number, contender in stage.turns("startup"):
        stage.tell(f"  start-up, round {number}: {contender.name}")
        with stage.guarded("startup", contender):
            _worker(stage, contender, number)
        if contender.serves:
            with stage.guarded("startup", contender):
                place = stage.place(contender)
                began = time.monotonic()
                with stage.running(contender, contender.services(place), place):
                    stage.note("startup.server", contender, time.monotonic() - began, number)


def _worker(stage: Stage, contender: Contender, number: int) -> None:
    place = stage.place(contender)
    stage.agent(contender, "fill", {"task": "noop", "jobs": 1, "payload": 64}, place)
    began_ns = time.monotonic_ns()
    with stage.running(contender, contender.workers(place, 1), place) as workers:
        done = Watch(stage, contender, place, [], workers).until(lambda now: now.jobs >= 1)
        stage.note("startup.worker", contender, (done.first_ns - began_ns) / 1e9, number)
