"""Write `helm/warren-topology/files/topology.yaml` from `warren.topology`, the one place that knows the topology.

The chart ranges over it: the fixed part as it is, the rest once for each queue, with `{queue}` filled in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from warren.topology import Binding, Exchange, Policy, Queue, Topology, topology

Data: TypeAlias = dict[str, dict[str, list[dict[str, Any]]]]

FILE = Path(__file__).resolve().parent.parent / "helm" / "warren-topology" / "files" / "topology.yaml"
HEAD = """\
# Written by tools/topology_data.py from warren.topology: change that, then run `make k8s`.
# `queue` is made for each queue of the values, `limited` for those that have or may get a limit.
"""
_STAND_IN = "stand-in-for-the-queue"


class _Indented(yaml.SafeDumper):
    """Puts lists deeper than what holds them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)


def main() -> int:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")
    return 0


def text() -> str:
    """Return the file as it should be."""
    return HEAD + yaml.dump(data(), Dumper=_Indented, sort_keys=False, width=1000, default_flow_style=None)


def data() -> Data:
    """Return the topology as data, with what depends on queues apart."""
    fixed = topology([])
    queue = topology([_STAND_IN])
    limited = topology([_STAND_IN], limited=[_STAND_IN])
    return {
        "fixed": _part(fixed, Topology(exchanges=(), queues=(), bindings=(), policies=())),
        "queue": _part(queue, fixed),
        "limited": _part(limited, queue),
    }


def _part(whole: Topology, known: Topology) -> dict[str, list[dict[str, Any]]]:
    """Describe what one topology has and another has not."""
    parts = {
        "exchanges": _rows(whole.exchanges, known.exchanges, _exchange),
        "queues": _rows(whole.queues, known.queues, _queue),
        "bindings": _rows(whole.bindings, known.bindings, _binding),
        "policies": _rows(whole.policies, known.policies, _policy),
    }
    return {name: rows for name, rows in parts.items() if rows}


def _rows(
    whole: Iterable[Any], known: Iterable[Any], describe: Callable[[Any], dict[str, Any]]
) -> list[dict[str, Any]]:
    return [_with_place(describe(each)) for each in whole if each not in known]


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {"name": exchange.name, "type": exchange.type}


def _queue(queue: Queue) -> dict[str, Any]:
    return {"name": queue.name, "type": queue.type}


def _binding(binding: Binding) -> dict[str, Any]:
    return {"source": binding.source, "to": binding.to, "destination": binding.destination, "key": binding.key}


def _policy(policy: Policy) -> dict[str, Any]:
    since = {name: f"{major}.{minor}" for name, (major, minor) in policy.since.items()}
    return {
        "name": policy.name,
        "pattern": policy.pattern,
        "applyTo": policy.apply_to,
        "priority": policy.priority,
        "definition": dict(policy.definition),
        **({"since": since} if since else {}),
    }


def _with_place(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace(_STAND_IN, "{queue}") if isinstance(value, str) else value for name, value in row.items()
    }


if __name__ == "__main__":
    sys.exit(main())
