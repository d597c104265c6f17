"""A backlog: many jobs submitted while nobody works, then drained; rate and memory at each tenth."""

from __future__ import annotations

import time

from bench.contender import Contender
from bench.drain import Watch
from bench.figures import crossings, tenth_rates
from bench.readings import Quantity, rate
from bench.recorder import Totals
from bench.results import Series
from bench.sizes import PARTS, Size
from bench.stage import Stage, pids
from bench.trees import MEBIBYTE, memory

_PAYLOAD = 64


def quantities(size: Size) -> list[Quantity]:
    """Return what is measured here."""
    jobs = f"{size.backlog:,} jobs"
    return [
        rate("backlog.submit", f"submit {jobs}"),
        rate("backlog.drain", f"drain {jobs}, until the last result is recorded"),
        Quantity(
            id="backlog.evenness", title="last tenth to first, the worse of both", unit="of the rate", better="higher"
        ),
        Quantity(id="backlog.worker-growth", title="workers' memory, last tenth to first", unit="×", better="lower"),
        Quantity(id="backlog.server-growth", title="server's memory, last tenth to first", unit="×", better="lower"),
    ]


def measure(stage: Stage) -> None:
    """Submit and drain once: a million jobs are no matter of rounds."""
    for number, contender in stage.turns("backlog"):
        if number == 1:
            stage.tell(f"  backlog of {stage.size.backlog:,}: {contender.name}")
            with stage.guarded("backlog", contender):
                _measure(stage, contender)


class _Tenths:
    """Looks at memory each time another tenth is done."""

    def __init__(self, jobs: int, began: float, workers: list[int], services: list[int], broker: list[int]) -> None:
        self.counts: list[tuple[float, float]] = [(began, 0.0)]
        self.memory: dict[str, list[float]] = {"workers": [], "server": [], "broker": []}
        self._pids = {"workers": workers, "server": services, "broker": broker}
        self._jobs = jobs
        self._next = 1

    def look(self, now: Totals) -> None:
        """Note the count; at a tenth note the memory, too."""
        self.counts.append((time.monotonic(), now.jobs))
        while self._next <= PARTS and now.jobs >= self._jobs * self._next / PARTS:
            self._next += 1
            for who, found in self._pids.items():
                if found:
                    self.memory[who].append(memory(found).proportional)


def _measure(stage: Stage, contender: Contender) -> None:
    jobs = stage.size.backlog
    place = stage.place(contender)
    order = {"task": "noop", "jobs": jobs, "payload": _PAYLOAD, "parts": PARTS}
    with stage.running(contender, contender.services(place), place) as services:
        began = time.monotonic()
        submitted = stage.agent(contender, "fill", order, place)
        stage.note("backlog.submit", contender, jobs / (time.monotonic() - began))
        submit_rates = [part["rate"] for part in submitted]
        stage.tell(f"    submitted at {submit_rates[0]:,.0f} to {submit_rates[-1]:,.0f} jobs/s")
        with stage.running(contender, contender.workers(place, stage.size.processes), place) as workers:
            watch = Watch(stage, contender, place, services, workers)
            began = watch.until(lambda now: now.jobs >= 1).first_ns / 1e9
            tenths = _Tenths(jobs, began, pids(workers), pids(services), list(stage.broker.pids))
            watch.until(lambda now: now.jobs >= jobs, tenths.look)
            watch.until_recorded(jobs, look_seconds=1.0)
            stage.note("backlog.drain", contender, jobs / (time.monotonic() - began))
    marks = [jobs * part / PARTS for part in range(1, PARTS + 1)]
    times = [began, *crossings(tenths.counts, marks)]
    drain_rates = tenth_rates(jobs, times)
    stage.note("backlog.evenness", contender, min(rates[-1] / rates[0] for rates in (submit_rates, drain_rates)))
    for who, quantity in (("workers", "backlog.worker-growth"), ("server", "backlog.server-growth")):
        found = tenths.memory[who]
        if found and found[0]:
            stage.note(quantity, contender, found[-1] / found[0])
    _keep(stage, contender, "submit", "submit, rate of each tenth", "jobs/s", submit_rates)
    _keep(stage, contender, "drain", "drain, rate of each tenth", "jobs/s", drain_rates)
    publisher = [part["resident"] / MEBIBYTE for part in submitted]
    for who, values in {"publisher": publisher, **tenths.memory}.items():
        _keep(stage, contender, f"memory.{who}", "memory after each tenth", "MiB", values, who)


def _keep(
    stage: Stage, contender: Contender, name: str, title: str, unit: str, values: list[float], who: str = ""
) -> None:
    if values:
        stage.results.series.append(
            Series(
                id=f"backlog.{name}",
                title=title,
                contender=f"{contender.name} {who}".strip(),
                unit=unit,
                points=tuple((float(number), value) for number, value in enumerate(values, 1)),
            )
        )
