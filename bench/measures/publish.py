"""Publish rates: one job at a time, and in bulk; every job confirmed by the broker."""

from __future__ import annotations

from bench.readings import PAYLOADS, Quantity, rate
from bench.sizes import Size
from bench.stage import Stage

_MODES = {"one": "one at a time", "bulk": "in bulk"}


def quantities(size: Size) -> list[Quantity]:
    """Return what is measured here."""
    return [
        rate(f"publish.{mode}.{payload}", f"{title}, {PAYLOADS[payload]}")
        for mode, title in _MODES.items()
        for payload in size.payloads
    ]


def measure(stage: Stage) -> None:
    """Publish into each contender's queue, which is emptied after each payload."""
    for number, contender in stage.turns("publish"):
        stage.tell(f"  publish, round {number}: {contender.name}")
        with stage.guarded("publish", contender):
            for payload in stage.size.payloads:
                orders = [{"mode": mode, "payload": payload, "seconds": stage.size.publish_seconds} for mode in _MODES]
                answers = contender.publish(stage, orders)
                for mode, answer in zip(_MODES, answers, strict=True):
                    stage.note(f"publish.{mode}.{payload}", contender, answer["rate"], number)
                    if "cpu_seconds" in answer and payload == stage.size.payloads[0]:
                        stage.note(f"cpu.publish.{mode}", contender, answer["cpu_seconds"], number)
