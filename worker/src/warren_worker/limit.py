"""The time limit of a job on a thread: an exception raised inside it, which Python code takes at its next step.

Code that sits in one long C call does not see it until that call returns; then a warning is logged, and again each
time it is tried. A limit that must hold needs `isolation="process"`.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from warren.errors import TimeLimitExceeded
from warren_worker.job import Job
from warren_worker.outcome import Outcome, raised
from warren_worker.timers import Timer, Timers

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 5.0
"""How long an attempt may go on after its limit before it is told so, and raised in, once more."""


class ThreadLimit:
    """Cuts off what the current thread runs after a number of seconds.

    Args:
        timers: Who wakes us.
        job: What runs; its timeout is the limit.
    """

    def __init__(self, timers: Timers, job: Job) -> None:
        self._timers = timers
        self._job = job
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._finished = False
        self._fired = 0
        self._timer: Timer | None = None

    def run(self, call: Callable[[], Outcome]) -> Outcome:
        """Call on this thread; the limit never strikes after this has returned."""
        self._timer = self._timers.after(self._job.timeout_seconds, self._fire)
        try:
            return call()
        except TimeLimitExceeded as error:
            # It struck while the outcome was being written down.
            return raised(error, self._job.timeout_seconds)
        finally:
            self._close()

    def _fire(self) -> None:
        with self._lock:
            if self._finished:
                return
            _raise_in(self._thread, TimeLimitExceeded)
            self._fired += 1
            if self._fired > 1:
                self._warn()
            self._timer = self._timers.after(AGAIN_SECONDS, self._fire)

    def _close(self) -> None:
        while True:
            try:
                with self._lock:
                    self._finished = True
                    if self._timer is not None:
                        self._timer.cancel()
                if self._fired:
                    _let_it_strike()
            except TimeLimitExceeded:
                continue
            return

    def _warn(self) -> None:
        job = self._job
        logger.warning(
            "job %s (%s) goes on after its timeout of %g s: it ignores the exception or sits in a C call; "
            'declare the task with isolation="process" to have it killed',
            job.envelope.id,
            job.task.name,
            job.timeout_seconds,
            extra={"event": "time_limit_ignored", "job": job.envelope.id, "task": job.task.name},
        )


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Set the exception a thread raises at its next step (CPython's C API)."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _let_it_strike() -> None:
    """Take the steps at which an exception that was set and not raised yet is raised.

    Clearing it with NULL instead would leave CPython's flag for pending exceptions up for good (ceval.c of 3.11), which
    slows down every thread and hangs traced ones.
    """
    time.sleep(0)
    for _ in range(10):
        pass
