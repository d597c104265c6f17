"""Rates: jobs that ended and that died, by the minute, for the minutes just past."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from warren_server.store.rates import MINUTE_MS, RateStore

MINUTES: Final = 30
_SETTLED_MINUTES: Final = 3
"""Events of jobs that ended may take so long to come in; minutes longer ago are counted once and remembered."""

Count = Callable[[int, int], dict[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """Jobs by the minute, oldest first; the minute under way is not among them.

    Attributes:
        ended: Jobs that ended.
        died: Dead letters that came, as far as they are still there.
    """

    ended: Sequence[int]
    died: Sequence[int]


class Rates:
    """Counts jobs by the minute, each minute that is settled only once.

    Args:
        store: Where they are counted.
        clock: Milliseconds since the epoch, injected so tests can set them.
    """

    def __init__(self, store: RateStore, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._ended: dict[int, int] = {}

    def minutes(self) -> Minutes:
        """Return the rates of the last minutes.

        Raises:
            StoreError: The store is away.
        """
        last = self._clock() // MINUTE_MS - 1
        first = last - MINUTES + 1
        with self._lock:
            known = {minute: number for minute, number in self._ended.items() if minute >= first}
            begin = max(known, default=first - 1) + 1
            fresh = self._store.ended(begin, last)
            ended = {**known, **{minute: fresh.get(minute, 0) for minute in range(begin, last + 1)}}
            self._ended = {minute: number for minute, number in ended.items() if minute <= last - _SETTLED_MINUTES}
        # Letters leave when they are redriven, so theirs are counted anew; there are fewer of them.
        died = self._store.died(first, last)
        return Minutes(
            ended=[ended[minute] for minute in range(first, last + 1)],
            died=[died.get(minute, 0) for minute in range(first, last + 1)],
        )
