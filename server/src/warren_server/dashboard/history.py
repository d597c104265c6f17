"""What the broker said over the last half hour, kept in this process's memory: for pictures, not for the record."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from warren_server.queues import QueueState

EVERY_SECONDS: Final = 15.0
SAMPLES: Final = 120
MOST_QUEUES: Final = 100
"""Queues beyond the first so many, by name, are not followed."""
SPAN: Final = f"the last {int(EVERY_SECONDS * SAMPLES / 60)} minutes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A queue at one moment; None where nobody says.

    Attributes:
        at_ms: When.
        ready: Jobs waiting.
        unacked: Jobs handed out.
        workers: Workers attached.
        desired: Workers it should have.
    """

    at_ms: int
    ready: int | None
    unacked: int | None
    workers: int | None
    desired: int | None


class History:
    """Remembers samples.

    Args:
        states: Tells the state of all queues.
        desired: Tells how many workers a queue should have, or None when nobody can say.
        clock: Milliseconds since the epoch, injected so tests can set them.
    """

    def __init__(
        self,
        states: Callable[[], Mapping[str, QueueState]],
        desired: Callable[[str], int | None],
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._states = states
        self._desired = desired
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Sample]] = {}

    def look(self) -> None:
        """Take a sample of every queue."""
        found = dict(list(self._states().items())[:MOST_QUEUES])
        now_ms = self._clock()
        samples = {
            name: Sample(
                at_ms=now_ms,
                ready=state.ready,
                unacked=state.unacked,
                workers=state.consumers,
                desired=self._desired(name),
            )
            for name, state in found.items()
        }
        with self._lock:
            self._queues = {name: self._queues.get(name, deque(maxlen=SAMPLES)) for name in samples}
            for name, sample in samples.items():
                self._queues[name].append(sample)

    def of(self, queue: str) -> Sequence[Sample]:
        """Return the samples of a queue, oldest first."""
        with self._lock:
            return list(self._queues.get(queue, ()))

    def total(self) -> Sequence[Sample]:
        """Return the samples of all queues together, for as long as all of them were followed."""
        with self._lock:
            lines = [list(line) for line in self._queues.values()]
        length = min((len(line) for line in lines), default=0)
        return [_sum([line[place] for line in lines]) for place in range(-length, 0)]


def _sum(samples: Sequence[Sample]) -> Sample:
    def added(name: str) -> int | None:
        told = [getattr(sample, name) for sample in samples if getattr(sample, name) is not None]
        return sum(told) if told else None

    return Sample(
        at_ms=samples[0].at_ms,
        ready=added("ready"),
        unacked=added("unacked"),
        workers=added("workers"),
        desired=added("desired"),
    )
