"""One thread that calls functions later: time limits, retries of publishes, flushes."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

_FEW: Final = 64
"""Cancelled timers that are not worth a look."""


class Timer:
    """A call that is due later."""

    __slots__ = ("_cancel", "call", "waits")

    def __init__(self, call: Callable[[], object], cancel: Callable[[Timer], None]) -> None:
        self.call: Callable[[], object] | None = call
        self.waits = True
        self._cancel = cancel

    def cancel(self) -> None:
        """Do not make the call, and keep nothing of it; one that is being made now goes on."""
        self._cancel(self)


class Timers:
    """Calls functions when their time has come, on a thread of its own; they must return quickly."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
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
        timer = Timer(call, self._cancel)
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), timer))
            if self._due[0][2] is timer:
                self._changed.notify()
        return timer

    def _cancel(self, timer: Timer) -> None:
        with self._changed:
            if timer.call is None or not timer.waits:
                return
            timer.call = None
            self._cancelled += 1
            # The time limit of a job that has ended is far away, and there may be thousands of such jobs a second.
            if self._cancelled > max(_FEW, len(self._due) // 2):
                self._due = [entry for entry in self._due if entry[2].call is not None]
                heapq.heapify(self._due)
                self._cancelled = 0

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:
                logger.exception("a timed call failed", extra={"event": "timed_call_failed"})

    def _next(self) -> Callable[[], object] | None:
        """Wait for the next call; None when the thread is to end."""
        with self._changed:
            while not self._stopping:
                if not self._due:
                    self._changed.wait()
                    continue
                at, _, timer = self._due[0]
                wait = at - time.monotonic()
                if wait > 0 and timer.call is not None:
                    self._changed.wait(wait)
                    continue
                heapq.heappop(self._due)
                timer.waits = False
                if timer.call is not None:
                    return timer.call
                self._cancelled -= 1
            return None
