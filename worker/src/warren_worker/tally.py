"""How many runs have ended, and how long they took: from it scalers learn what a job is expected to take."""

from __future__ import annotations

import threading


class Tally:
    """Sums that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.ended = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Add a run that ended."""
        with self._lock:
            self.ended += 1
            self.seconds += max(seconds, 0.0)
