"""Room in queues with a length limit: the server refuses jobs over it, for the broker must not.

A full job queue that rejects would hold up the delay ladder for every queue (ADR 7). So the depth is asked of the
broker, remembered for a fraction of a second, and what this process has sent since is added. Another process's jobs
show up with the next answer: the limit may be passed by what other processes take within `FRESH_SECONDS`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from warren.errors import QueueFull, TransportError
from warren.topology import queue_name
from warren.transport import Transport
from warren_server.store.queue_settings import QueueSettingsStore

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 0.25
_ANSWER_SECONDS: Final = 3.0


class Room:
    """Admits jobs to queues.

    Args:
        transport: Tells how deep queues are.
        store: Tells their limits; read by `refresh`, never while a job waits.
        clock: Seconds, for tests.
    """

    def __init__(
        self, transport: Transport, store: QueueSettingsStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._store = store
        self._clock = clock
        self._limits: dict[str, int] = {}
        self._levels: dict[str, _Level] = {}

    def refresh(self) -> None:
        """Read the limits; while the store is away those read last stay in force.

        Raises:
            StoreError: The store is away.
        """
        found = self._store.all()
        limits = {name: each.max_length for name, each in found.items() if each.max_length is not None}
        levels = {name: self._levels.get(name) or _Level() for name in limits}
        # Levels first: `admit` looks for a limit, then for its level.
        self._levels = {**self._levels, **levels}
        self._limits = limits
        self._levels = levels

    def admit(self, queue: str, send: Callable[[], Future[None]]) -> Future[None]:
        """Send a job that goes to its queue at once, if there is room.

        Args:
            queue: The queue's name.
            send: Publishes the job.

        Raises:
            QueueFull: The queue is at its limit; nothing was sent.
            TransportError: As `send` does.
        """
        limit, level = self._limits.get(queue), self._levels.get(queue)
        if limit is None or level is None:
            return send()
        self._measure(queue, level)
        level.enter(queue, limit)
        try:
            sent = send()
        except BaseException:
            level.leave(taken=False)
            raise
        sent.add_done_callback(lambda done: level.leave(taken=not done.cancelled() and done.exception() is None))
        return sent

    def _measure(self, queue: str, level: _Level) -> None:
        with level.asking:
            if self._clock() - level.asked_at < FRESH_SECONDS:
                return
            level.begin()
            try:
                level.depth = self._transport.depth(queue_name(queue)).result(_ANSWER_SECONDS).ready
            except (TransportError, FutureTimeout) as error:
                # Whoever cannot ask cannot publish either, or finds no queue: that is for the publish to say.
                level.depth = 0
                logger.debug("cannot ask how deep %s is: %s", queue, error, extra={"event": "depth_unknown"})
            level.asked_at = self._clock()


class _Level:
    """How full a queue is, as far as this process knows: rather too full than not full enough.

    Confirms come on the transport's thread, which must never wait for one that waits for the broker's answer: hence
    two locks.
    """

    def __init__(self) -> None:
        self.asking = threading.Lock()
        self.asked_at = float("-inf")
        self.depth = 0
        self._counting = threading.Lock()
        self._under_way = 0
        self._taken = 0

    def begin(self) -> None:
        """Forget jobs that were safe in the queue before it is asked: its depth has them."""
        with self._counting:
            self._taken = 0

    def enter(self, queue: str, limit: int) -> None:
        with self._counting:
            there = self.depth + self._under_way + self._taken
            if there >= limit:
                raise QueueFull(f"queue {queue!r} holds {there} jobs, its limit is {limit}; try again later")
            self._under_way += 1

    def leave(self, *, taken: bool) -> None:
        with self._counting:
            self._under_way -= 1
            self._taken += taken
