"""How long work stood still after a fault."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from faults.history import Kind, Line


def standstill_seconds(lines: Iterable[Line], kind: Kind, since: float) -> float:
    """Return the longest time between two lines of a kind, from a moment on.

    Args:
        lines: The history.
        kind: What should go on, such as `accepted` or `effect`.
        since: When the fault struck, by the history's clock.
    """
    times = [since, *sorted(line.at for line in lines if line.kind == kind and line.at > since)]
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def restart_seconds(lines: Iterable[Line], keys: Sequence[str], since: float) -> float | None:
    """Return how long jobs took to start again after a moment, the slowest of them; None while one has not."""
    again: dict[str, float] = {}
    for line in lines:
        if line.kind == "start" and line.key in keys and line.at > since:
            again.setdefault(line.key, line.at - since)
    return max(again.values()) if len(again) == len(keys) else None
