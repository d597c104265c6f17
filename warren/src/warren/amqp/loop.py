"""The one I/O thread: pika's loop, kept running whatever its callbacks do."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pika.adapters.select_connection import IOLoop

logger = logging.getLogger(__name__)

_BEAT_SECONDS: Final = 1.0


class Loop:
    """Runs pika's I/O loop in a thread of its own.

    Args:
        on_crash: Called in the thread when an exception left the loop; the loop then goes on.
    """

    def __init__(self, on_crash: Callable[[], None]) -> None:
        # `Any`, here and beside: pika ships no types.
        self.pika: Any = IOLoop()
        self._on_crash = on_crash
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False
        self._stopping = False
        self._beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="warren-amqp", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(self, callback: Callable[[], None]) -> None:
        """Run a callback in the thread, soon, from any thread. Many calls share one wake-up of the loop."""
        self._calls.append(callback)
        if not self._woken:
            self._woken = True
            self.pika.add_callback_threadsafe(self._run_calls)

    def later(self, seconds: float, callback: Callable[[], None]) -> object:
        """Run a callback in the thread after a while; only from the thread itself."""
        handle: object = self.pika.call_later(seconds, lambda: _guarded(callback))
        return handle

    def cancel(self, handle: object) -> None:
        """Forget a callback of `later`; only from the thread itself."""
        self.pika.remove_timeout(handle)

    @property
    def age_seconds(self) -> float:
        """How long ago the loop last turned; it turns at least once a second unless something holds it up."""
        return max(time.monotonic() - self._beat_at - _BEAT_SECONDS, 0.0)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in the thread."""
        return threading.current_thread() is self._thread

    def finish(self) -> None:
        """Leave the loop; only from the thread itself."""
        self._stopping = True
        self.pika.stop()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread's end; False when it still runs."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        self.later(_BEAT_SECONDS, self._beat)

    def _run(self) -> None:
        self._beat()
        while not self._stopping:
            try:
                self.pika.start()
            except Exception:
                logger.exception("the I/O loop failed and goes on", extra={"event": "broker_loop_failed"})
                _guarded(self._on_crash)
        self._run_calls()
        self.pika.close()

    def _run_calls(self) -> None:
        # Lowered first: a call appended from here on wakes the loop again.
        self._woken = False
        for _ in range(len(self._calls)):
            _guarded(self._calls.popleft())
        if self._calls and not self._woken:
            self._woken = True
            self.pika.add_callback_threadsafe(self._run_calls)


def _guarded(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("a callback on the I/O thread failed", extra={"event": "broker_callback_failed"})
