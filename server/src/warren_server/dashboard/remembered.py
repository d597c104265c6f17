"""An answer that many pages want, asked for once in a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Asks, and remembers the answer for a moment; an error is not remembered.

    Args:
        seconds: For how long.
        ask: What is asked.
        clock: Seconds that never go back, injected so tests can set them.
    """

    def __init__(self, seconds: float, ask: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[float, T] | None = None

    def get(self) -> T:
        """Return the answer; of several who ask at a time one does, and the others wait for it."""
        with self._lock:
            if self._known is None or self._clock() - self._known[0] >= self._seconds:
                answer = self._ask()
                self._known = (self._clock(), answer)
            return self._known[1]
