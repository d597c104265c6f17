"""End-to-end latency at a fixed rate: from the time a submit was due until the task's code begins."""

from __future__ import annotations

from bench.contender import Contender
from bench.drain import Watch
from bench.errors import BenchError
from bench.figures import percentile
from bench.readings import Quantity, milliseconds, rate
from bench.recorder import latencies_ns
from bench.sizes import Size
from bench.stage import Stage

_SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def quantities(size: Size) -> list[Quantity]:
    """Return what is measured here."""
    return [
        *(milliseconds(f"latency.{name}", f"{name} at {size.latency_rate} jobs/s") for name in _SHARES),
        rate("latency.rate", "submitted"),
    ]


def measure(stage: Stage) -> None:
    """Submit to each contender's workers, one job at a time, each confirmed."""
    for number, contender in stage.turns("latency", stage.size.few):
        stage.tell(f"  latency, round {number}: {contender.name}")
        with stage.guarded("latency", contender):
            _measure(stage, contender, number)


def _measure(stage: Stage, contender: Contender, number: int) -> None:
    size = stage.size
    place = stage.place(contender)
    order = {"rate": size.latency_rate, "seconds": size.latency_seconds}
    with (
        stage.running(contender, contender.services(place), place) as services,
        stage.running(contender, contender.workers(place, size.processes), place) as workers,
        stage.gauge(contender, place) as gauge,
    ):
        ready = contender.consumers(size.processes)
        stage.wait(lambda: gauge.look()[1] >= ready, workers, f"consuming: {ready} consumers")
        warm = size.processes * 20
        stage.agent(contender, "fill", {"task": "noop", "jobs": warm, "payload": 64}, place)
        watch = Watch(stage, contender, place, services, workers)
        watch.until(lambda now: now.jobs >= warm)
        told = stage.agent(contender, "pace", order, place)
        # One job to connect by, see `agent.pace`.
        watch.until(lambda now: now.jobs >= warm + 1 + told["jobs"])
    found = latencies_ns(place.records)
    if len(found) < told["jobs"]:
        raise BenchError(f"{contender.name}: {len(found)} of {told['jobs']} jobs have a latency")
    for name, share in _SHARES.items():
        stage.note(f"latency.{name}", contender, percentile(found, share) / 1e6, number)
    stage.note("latency.rate", contender, told["rate"], number)
