"""An answer that many pages want, asked for once in a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from warren_server.errors import StoreDown

T = TypeVar("T")


class Remembered(Generic[T]):
    """Asks, and remembers the answer for a moment, or that there is none: who is away is not asked by every page.

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
        self._failed: tuple[float, StoreDown] | None = None

    def get(self) -> T:
        """Return the answer; of several who ask at a time one does, and the others wait for it.

        Raises:
            StoreDown: The store is away, or was a moment ago.
        """
        with self._lock:
            if self._known is not None and self._fresh(self._known[0]):
                return self._known[1]
            if self._failed is not None and self._fresh(self._failed[0]):
                raise StoreDown(str(self._failed[1])) from self._failed[1]
            try:
                answer = self._ask()
            except StoreDown as error:
                self._failed = (self._clock(), error)
                raise
            self._known = (self._clock(), answer)
            return answer

    def _fresh(self, at: float) -> bool:
        return self._clock() - at < self._seconds
