"""How many workers a queue deserves, by what the broker and the store say of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from warren.scaling import Observation
from warren_server.errors import StoreDown
from warren_server.queues import QueueState
from warren_server.store.durations import DurationStore

SAMPLES: Final = 50
"""Jobs of each way to end that are looked at."""
FADE: Final = 0.95
"""Weight of a job against that of the one submitted after it: half of all weight is on the latest fourteen."""
_REMEMBER_SECONDS: Final = 2.0
_MAX_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What the store tells of a queue's jobs.

    Attributes:
        expected_seconds: How long a job is expected to run, or None while none has ended.
        samples: Jobs that this was learnt from.
        running: Jobs that run, as far as their events have come in; None when the store was never reached.
    """

    expected_seconds: float | None = None
    samples: int = 0
    running: int | None = None


@dataclass(slots=True)
class _Known:
    recent: Recent = field(default_factory=Recent)
    at: float = float("-inf")


class Expectations:
    """What jobs are expected to take: read from the store, so that all processes say the same, and remembered.

    Args:
        store: Where the runs are.
        clock: Seconds that never go back, injected so tests can set them.
    """

    def __init__(self, store: DurationStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def of(self, queue: str) -> Recent:
        """Return what is known of a queue; while the store is away, what was known before."""
        with self._lock:
            if queue not in self._known and len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            known = self._known.setdefault(queue, _Known())
            if self._clock() - known.at < _REMEMBER_SECONDS:
                return known.recent
            # Whoever comes meanwhile takes what is known, and a store that is away is asked no more often.
            known.at = self._clock()
        try:
            runs, running = self._store.latest(queue, SAMPLES), self._store.running(queue)
        except StoreDown:
            return known.recent
        known.recent = Recent(expected_seconds=faded_mean(runs), samples=len(runs), running=running)
        return known.recent


def faded_mean(runs: Sequence[float]) -> float | None:
    """Return the mean of runs, the first of which weighs most; None without any."""
    weights = [FADE**age for age in range(len(runs))]
    return sum(weight * run for weight, run in zip(weights, runs, strict=True)) / sum(weights) if runs else None


def observe(state: QueueState, recent: Recent, concurrency: int, *, paused: bool) -> Observation:
    """Put together what the policy looks at.

    What is unsettled beyond all that the attached workers can hold belongs to workers that are leaving: those take
    nothing more, and nobody has to be started for what they have.

    Args:
        state: The queue by the broker.
        recent: Its jobs by the store.
        concurrency: Jobs that a worker runs at once.
        paused: No waiting job may start, so none asks for a worker.
    """
    attached = state.consumers or 0
    # A worker holds a quarter more than it runs, rounded up: its default prefetch.
    holdable = attached * (concurrency + -(-concurrency // 4))
    leaving = max((state.unacked or 0) - holdable, 0)
    return Observation(
        current=attached,
        ready=0 if paused and state.ready is not None else state.ready,
        unacked=state.unacked,
        leaving_jobs=leaving,
        expected_seconds=recent.expected_seconds,
    )
