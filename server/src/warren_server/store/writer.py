"""The writer: one thread that records submitted jobs, all that wait in one transaction.

A commit costs about the same for one row as for hundreds, so the more submits wait, the cheaper each gets.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from warren import metrics
from warren.events import Event
from warren_server.errors import StoreDown, StoreError
from warren_server.store.jobs import JobStore

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 100_000
"""Jobs kept for a store that is away; beyond it the oldest are left to their events."""
_BATCH: Final = 2000
_RETRY_SECONDS: Final = (0.1, 0.25, 0.5, 1.0)


class Writer:
    """Records submitted jobs.

    Args:
        store: Where to.
        wait_seconds: How long `record` waits for the commit.
    """

    def __init__(self, store: JobStore, wait_seconds: float) -> None:
        self._store = store
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Event, Future[None]]] = deque()
        self._down = False
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Idempotent."""
        if self._thread is None:
            self._deadline = None
            self._thread = threading.Thread(target=self._run, name="warren-writer", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Write what waits, for a while, then end. Idempotent, safe before `start`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._changed:
            self._deadline = time.monotonic() + timeout_seconds
            self._changed.notify_all()
        thread.join(timeout_seconds + 5)
        if self._waiting:
            logger.warning(
                "stopped with %d jobs not recorded; their events will write them",
                len(self._waiting),
                extra={"event": "records_left"},
            )

    def record(self, submitted: Sequence[Event]) -> bool:
        """Record jobs and wait for the commit.

        Returns:
            False when the store does not take them now; they are kept and recorded when it does.
        """
        futures: list[Future[None]] = [Future() for _ in submitted]
        with self._changed:
            self._waiting.extend(zip(submitted, futures, strict=True))
            self._drop_oldest()
            # A store known to be down gets no request to wait for it.
            patience = 0.0 if self._down else self._wait_seconds
            self._changed.notify_all()
        deadline = time.monotonic() + patience
        try:
            for future in futures:
                future.result(max(deadline - time.monotonic(), 0))
        except (FutureTimeout, StoreError):
            return False
        return True

    def _run(self) -> None:
        failures = 0
        while batch := self._next():
            try:
                self._write(batch)
            except StoreDown as error:
                if failures == 0:
                    logger.warning("cannot record jobs: %s; trying on", error, extra={"event": "store_down"})
                self._keep(batch, error)
                pause = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
                if not self._pause(pause):
                    return
            else:
                if failures:
                    logger.info("the store is back", extra={"event": "store_back"})
                failures = 0

    def _write(self, batch: list[tuple[Event, Future[None]]]) -> None:
        began = time.perf_counter()
        try:
            self._store.record([event for event, _ in batch])
        except StoreDown:
            metrics.counter("warren_store_writes_total").labels(result="failed").inc()
            raise
        except Exception as error:
            # Anything else would come again for ever: let go of these rows, their events write them.
            logger.exception("could not record %d jobs", len(batch), extra={"event": "record_failed"})
            metrics.counter("warren_store_writes_total").labels(result="refused").inc()
            _fail(batch, StoreError(f"not recorded: {error}"))
            return
        metrics.counter("warren_store_writes_total").labels(result="committed").inc()
        metrics.histogram("warren_store_commit_seconds").observe(time.perf_counter() - began)
        self._down = False
        for _, future in batch:
            if not future.done():
                future.set_result(None)

    def _next(self) -> list[tuple[Event, Future[None]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._deadline is not None)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]

    def _keep(self, batch: list[tuple[Event, Future[None]]], error: StoreDown) -> None:
        """Put rows back in front and let their requests answer."""
        with self._changed:
            self._down = True
            self._waiting.extendleft(reversed(batch))
            self._drop_oldest()
        _fail(batch, error)

    def _drop_oldest(self) -> None:
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try; False when the writer stops and its time is up."""
        with self._changed:
            if self._deadline is None:
                self._changed.wait_for(lambda: self._deadline is not None, seconds)
                return True
        time.sleep(min(seconds, 0.1))
        return time.monotonic() < self._deadline


def _fail(batch: list[tuple[Event, Future[None]]], error: StoreError) -> None:
    for _, future in batch:
        try:
            future.set_exception(error)
        except InvalidStateError:
            continue
