"""Starting and stopping: signals become an event, and what was opened is closed in reverse order."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

logger = logging.getLogger(__name__)


class StopSignal:
    """Turns the first SIGTERM or SIGINT into an event; the second ends the process at once, with status 128 + signal.

    Args:
        on_stop: Called once, in the main thread's signal handler, when the first signal comes; must return at once.
    """

    def __init__(self, on_stop: Callable[[], None] | None = None) -> None:
        self._event = threading.Event()
        self._on_stop = on_stop

    def install(self) -> None:
        """Take over SIGTERM and SIGINT; only possible in the main thread."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask for a stop, as a signal would."""
        if not self._event.is_set():
            self._event.set()
            if self._on_stop is not None:
                self._on_stop()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until a stop is asked for; False when the time is up first."""
        return self._event.wait(timeout_seconds)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
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
