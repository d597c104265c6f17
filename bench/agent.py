"""What runs in a contender's own interpreter: `python -m bench.agent MODULE NAME ACTION JSON`, answered in JSON.

Standard library only, but for what the contender imports.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any, Final

from bench.contender import Contender, Publisher, load
from bench.place import here

MARK: Final = "bench-answer:"
"""In front of the answer, among whatever else is printed."""
_MOST_BYTES: Final = 256 * 1024 * 1024
_PROBE_JOBS: Final = 200


def versions(_contender: Contender, distributions: list[str]) -> dict[str, str]:
    """Return the versions of packages."""
    return {"Python": sys.version.split()[0], **{name: metadata.version(name) for name in distributions}}


def prepare(contender: Contender, _order: None) -> None:
    """Make what the contender needs on the broker."""
    contender.prepare(here())


def publish(contender: Contender, orders: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Measure publishes.

    Args:
        contender: Who publishes.
        orders: For each the `mode`, one or bulk, the `payload` in bytes and about how many `seconds` it may take.

    Returns:
        For each the `rate` in jobs a second and the processor time of a thousand, `cpu_seconds`.
    """
    answers = []
    with contender.publisher(here()) as publisher:
        publisher.many("noop", _jobs(_PROBE_JOBS, 64))
        for order in orders:
            measure = _one_at_a_time if order["mode"] == "one" else _in_bulk
            jobs, seconds, cpu_seconds = measure(publisher, order["payload"], order["seconds"])
            answers.append({"rate": jobs / seconds, "cpu_seconds": cpu_seconds / jobs * 1000})
    return answers


def fill(contender: Contender, order: dict[str, Any]) -> list[dict[str, float]]:
    """Submit `jobs` of a `task` in `parts`; for each part its rate and this process' memory."""
    parts = order.get("parts", 1)
    share = order["jobs"] // parts
    if share * parts != order["jobs"]:
        raise ValueError(f"{order['jobs']} jobs cannot be cut into {parts} equal parts")
    answers = []
    with contender.publisher(here()) as publisher:
        for _ in range(parts):
            began = time.perf_counter()
            publisher.many(order["task"], _jobs(share, order["payload"]))
            answers.append({"rate": share / (time.perf_counter() - began), "resident": _resident_bytes()})
    return answers


def pace(contender: Contender, order: dict[str, Any]) -> dict[str, float]:
    """Submit jobs at a fixed `rate` for some `seconds`, each with the time it was due.

    The times are fixed beforehand: a submit that comes late, because the one before took long, is late for whoever
    looks at the time its job was due (no coordinated omission).
    """
    interval_ns = round(1e9 / order["rate"])
    jobs = round(order["rate"] * order["seconds"])
    latest_ns = 0
    with contender.publisher(here()) as publisher:
        publisher.one("noop", {"payload": ""})
        start_ns = time.monotonic_ns() + 100_000_000
        for number in range(jobs):
            due_ns = start_ns + number * interval_ns
            wait_ns = due_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            latest_ns = max(latest_ns, time.monotonic_ns() - due_ns)
            publisher.one("stamp", {"at_ns": due_ns})
        seconds = (time.monotonic_ns() - start_ns) / 1e9
    return {"jobs": jobs, "rate": jobs / seconds, "latest_ms": latest_ns / 1e6}


def _one_at_a_time(publisher: Publisher, payload: int, seconds: float) -> tuple[int, float, float]:
    arguments = {"payload": "x" * payload}
    jobs = 0
    cpu = time.process_time()
    began = now = time.perf_counter()
    while now < began + seconds:
        publisher.one("noop", arguments)
        jobs += 1
        now = time.perf_counter()
    return jobs, now - began, time.process_time() - cpu


def _in_bulk(publisher: Publisher, payload: int, seconds: float) -> tuple[int, float, float]:
    """Publish once to see how fast it goes, and once more for about the wanted time."""
    began = time.perf_counter()
    publisher.many("noop", _jobs(_PROBE_JOBS, payload))
    rate = _PROBE_JOBS / (time.perf_counter() - began)
    jobs = max(min(int(rate * seconds), _MOST_BYTES // payload), _PROBE_JOBS)
    cpu = time.process_time()
    began = time.perf_counter()
    publisher.many("noop", _jobs(jobs, payload))
    return jobs, time.perf_counter() - began, time.process_time() - cpu


def _jobs(count: int, payload: int) -> Iterator[dict[str, Any]]:
    arguments = {"payload": "x" * payload}
    return (arguments for _ in range(count))


def _resident_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


ACTIONS: Final[dict[str, Callable[[Contender, Any], Any]]] = {
    "versions": versions,
    "prepare": prepare,
    "publish": publish,
    "fill": fill,
    "pace": pace,
}


def main(arguments: list[str]) -> None:
    """Do what is asked, and print the answer."""
    module, name, action, order = arguments
    contender = next(each for each in load(module) if each.name == name)
    answer = ACTIONS[action](contender, json.loads(order))
    print(f"\n{MARK}{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
