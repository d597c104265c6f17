"""Starting and stopping: signals become an event, and what was opened is closed in reverse order."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

logger = logging.getLogger(__name__)

_STEP_SECONDS: Final = 0.1


class StopSignal:
    """Turns the first SIGTERM or SIGINT into an event; the second ends the process at once, with status 128 + signal.

    Args:
        on_stop: Called once, in the main thread's signal handler, when the first signal comes; must return at once.
    """

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        # A plain flag, and no lock: a handler runs between two steps of the thread it interrupts, which may be holding
        # the lock that an event's `set` waits for.
        self._requested = False
        self._on_stop = on_stop

    def install(self) -> None:
        """Take over SIGTERM and SIGINT; only possible in the main thread."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._requested

    def request(self) -> None:
        """Ask for a stop, as a signal would."""
        if not self._requested:
            self._requested = True
            if self._on_stop is not None:
                self._on_stop()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until a stop is asked for; False when the time is up first."""
        deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        # In short steps: a signal that comes just before a thread blocks does not wake it, and its handler only runs
        # when something else does (https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers).
        while not self._requested and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_SECONDS))
        return self._requested

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._requested:
            os._exit(128 + number)
        self.request()


class Closing:
    """Closes what was opened, last first.

    Each step is isolated: one that fails is logged and does not keep the others from running. Closing twice, or with
    nothing opened, is harmless.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def add(self, name: str, close: Callable[[], object]) -> None:
        """Remember to call `close` when closing; the name is for the log."""
        self._steps.append((name, close))

    def close(self) -> None:
        """Run every step, last added first."""
        while self._steps:
            name, step = self._steps.pop()
            try:
                step()
            except Exception:
                logger.exception("could not close %s", name, extra={"event": "close_failed", "part": name})

    def __enter__(self) -> Closing:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
