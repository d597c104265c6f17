"""Progress of running jobs: at most one event a second for each, the last one always."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from warren_worker.job import Run
from warren_worker.timers import Timer, Timers

INTERVAL_SECONDS: Final = 1.0


class Throttle:
    """Passes on the progress of one run, not too often.

    Args:
        timers: Who wakes us for what was held back.
        emit: Tells the store where the run is now.
    """

    def __init__(self, timers: Timers, emit: Callable[[Run], None]) -> None:
        self._timers = timers
        self._emit = emit
        self._lock = threading.Lock()
        self._last = float("-inf")
        self._timer: Timer | None = None

    def tell(self, run: Run) -> None:
        """Pass on the run's progress, now or within a second."""
        with self._lock:
            if self._timer is not None:
                return
            wait = self._last + INTERVAL_SECONDS - time.monotonic()
            if wait > 0:
                self._timer = self._timers.after(wait, lambda: self._later(run))
                return
            self._last = time.monotonic()
        self._emit(run)

    def close(self) -> None:
        """Hold back what is not passed on yet: the end of the run tells it."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()

    def _later(self, run: Run) -> None:
        with self._lock:
            self._timer = None
            self._last = time.monotonic()
        self._emit(run)
