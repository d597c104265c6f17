"""Processor seconds for 1,000 jobs, the broker's apart. Read off the publishes and the drains."""

from __future__ import annotations

from bench.contender import Contender
from bench.drain import Drained
from bench.readings import Quantity
from bench.sizes import Size
from bench.stage import Stage


def quantities(_size: Size) -> list[Quantity]:
    """Return what is measured here."""
    titles = {
        "publish.one": "publish one at a time, 64 B",
        "publish.bulk": "publish in bulk, 64 B",
        "noop": "run no-op jobs and record the results",
        "noop.broker": "the broker meanwhile",
    }
    return [
        Quantity(id=f"cpu.{name}", title=title, unit="s per 1,000 jobs", better="lower")
        for name, title in titles.items()
    ]


def note(stage: Stage, contender: Contender, drained: Drained, number: int) -> None:
    """Keep what a drain of no-op jobs cost."""
    if drained.cpu_per_thousand is not None:
        stage.note("cpu.noop", contender, drained.cpu_per_thousand, number)
    if drained.broker_per_thousand is not None:
        stage.note("cpu.noop.broker", contender, drained.broker_per_thousand, number)
