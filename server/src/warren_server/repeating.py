"""Doing something again and again on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from warren.errors import TransportError
from warren_server.api.problems import Refusal
from warren_server.errors import StoreError

logger = logging.getLogger(__name__)


class Repeating:
    """Calls a function at once and then at an interval, whatever the broker or the store say to it.

    Args:
        name: What it does, for the thread and the log.
        every_seconds: Pause between calls.
        call: What is called.
    """

    def __init__(self, name: str, every_seconds: float, call: Callable[[], object]) -> None:
        self._name = name
        self._every_seconds = every_seconds
        self._call = call
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def start(self) -> None:
        """Begin. Idempotent."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name=f"warren-{self._name}", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop. Idempotent, safe before `start`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._call()
                self._failing = False
            except (StoreError, TransportError, Refusal) as error:
                self._complain(error)
            except Exception:
                # A mistake of ours must not end the thread.
                logger.exception("%s failed", self._name, extra={"event": "repeating_failed"})
            self._stopping.wait(self._every_seconds)

    def _complain(self, error: Exception) -> None:
        """Say it once, not at every turn until it works again."""
        if not self._failing:
            logger.warning("%s: %s; trying on", self._name, error, extra={"event": f"{self._name}_failed"})
        self._failing = True
