"""One thread that calls functions later: time limits, retries of publishes, flushes."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Timer:
    """A call that is due later."""

    __slots__ = ("call", "cancelled")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Do not make the call; one that is being made now goes on."""
        self.cancelled = True


class Timers:
    """Calls functions when their time has come, on a thread of its own; they must return quickly."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the thread. Idempotent."""
        with self._changed:
            if self._thread is None:
                self._stopping = False
                self._thread = threading.Thread(target=self._run, name="warren-timers", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Stop the thread; calls not yet due are not made. Idempotent, safe before `start`."""
        with self._changed:
            self._stopping = True
            thread, self._thread = self._thread, None
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def after(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call a function in so many seconds."""
        timer = Timer(call)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), timer))
            if self._due[0][2] is timer:
                self._changed.notify()
        return timer

    def _run(self) -> None:
        while (timer := self._next()) is not None:
            if timer.cancelled:
                continue
            try:
                timer.call()
            except Exception:
                logger.exception("a timed call failed", extra={"event": "timed_call_failed"})

    def _next(self) -> Timer | None:
        with self._changed:
            while not self._stopping:
                if not self._due:
                    self._changed.wait()
                    continue
                wait = self._due[0][0] - time.monotonic()
                if wait <= 0 or self._due[0][2].cancelled:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
            return None
