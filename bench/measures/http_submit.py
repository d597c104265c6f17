"""Submits over HTTP: single and in batches, as fast as it goes; and latency at fixed rates."""

from __future__ import annotations

import json
from typing import Any

from bench.contender import Command, Contender
from bench.errors import BenchError
from bench.place import Place
from bench.readings import Quantity, milliseconds, rate
from bench.sizes import Size
from bench.stage import Stage, answer_in

_TASK = "bench.noop"
_PAYLOAD = 64


def quantities(size: Size) -> list[Quantity]:
    """Return what is measured here."""
    return [
        rate("http.single", f"single, {size.http_clients} clients, one server process"),
        rate("http.batch", f"batches of {size.batch}, {size.batch_clients} clients, one server process, rows recorded"),
        *(
            milliseconds(f"http.{share}.{each}", f"single at {each}/s, open loop, {share}")
            for each in size.http_rates
            for share in ("p50", "p99")
        ),
    ]


def measure(stage: Stage) -> None:
    """Load the server of each contender that has one."""
    for number, contender in stage.turns("http"):
        stage.tell(f"  http, round {number}: {contender.name}")
        with stage.guarded("http", contender):
            _measure(stage, contender, number)


def _measure(stage: Stage, contender: Contender, number: int) -> None:
    size = stage.size
    place = stage.place(contender)
    order: dict[str, Any] = {
        "port": place.http_port,
        "task": _TASK,
        "payload": _PAYLOAD,
        "seconds": size.http_seconds,
        "clients": size.http_clients,
    }
    with (
        stage.running(contender, contender.services(place), place),
        stage.gauge(contender, place) as gauge,
    ):
        single = _load(stage, contender, place, order)
        stage.note("http.single", contender, single["rate"], number)
        gauge.purge()
        batch = _load(stage, contender, place, order | {"batch": size.batch, "clients": size.batch_clients})
        stage.note("http.batch", contender, batch["rate"], number)
        gauge.purge()
        for each in size.http_rates:
            found = _load(stage, contender, place, order | {"rate": each})
            for share in ("p50", "p99"):
                stage.note(f"http.{share}.{each}", contender, found[share], number)
            gauge.purge()


def _load(stage: Stage, contender: Contender, place: Place, order: dict[str, Any]) -> dict[str, float]:
    """Have a process of its own make the load.

    Raises:
        BenchError: It failed, or jobs were refused or not recorded.
    """
    command = Command(name="http-load", arguments=("-m", "bench.http_load", json.dumps(order)))
    printed = stage.finish(contender, command, stage.log("http-load", place), order["seconds"] + 60, place)
    found: dict[str, float] = json.loads(answer_in(printed))
    if found["refused"] or found["deferred"]:
        raise BenchError(f"{found['refused']:g} jobs were refused, {found['deferred']:g} were not recorded in time")
    return found
