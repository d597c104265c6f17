"""Publishing that does not give up: a message handed in here is sent until the broker confirms it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from random import Random
from typing import Final

from warren.errors import TransportError, Unroutable
from warren.topology import JOBS, route
from warren.transport import Publication, Transport
from warren_worker.timers import Timers

logger = logging.getLogger(__name__)

FIRST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 5.0
WARN_AFTER_TRIES: Final = 5


class Outbox:
    """Sends messages until they are confirmed, with full-jitter back-off between tries.

    What was sent and never confirmed is sent again: the store counts an event once, and a job that came twice is
    marked. A job whose queue is not there goes by the delay ladder, which ends in `warren.unroutable`: there it waits
    for a repair, as delayed jobs do.

    Args:
        transport: Where to send.
        timers: Who wakes us for another try.
        rng: Source of jitter.
    """

    def __init__(self, transport: Transport, timers: Timers, rng: Random) -> None:
        self._transport = transport
        self._timers = timers
        self._rng = rng
        self._changed = threading.Condition()
        self._open = 0

    def send(self, publication: Publication) -> Future[None]:
        """Send a message; the future is done when the broker has it safe."""
        done: Future[None] = Future()
        with self._changed:
            self._open += 1
        self._try(publication, done, 1)
        return done

    def wait_empty(self, timeout_seconds: float) -> bool:
        """Wait until everything is confirmed; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_seconds)

    def _try(self, publication: Publication, done: Future[None], tries: int) -> None:
        try:
            sent = self._transport.publish(publication)
        except TransportError as error:
            self._again(publication, done, tries, error)
        else:
            sent.add_done_callback(self._judging(publication, done, tries))

    def _judging(self, publication: Publication, done: Future[None], tries: int) -> Callable[[Future[None]], None]:
        def judge(sent: Future[None]) -> None:
            error = sent.exception()
            if error is None:
                self._close(done)
            elif isinstance(error, Unroutable) and publication.exchange == JOBS:
                self._detour(publication, done, tries, error)
            else:
                self._again(publication, done, tries, error)

        return judge

    def _detour(self, publication: Publication, done: Future[None], tries: int, error: BaseException) -> None:
        logger.error("a job cannot go back to its queue: %s", error, extra={"event": "retry_unroutable"})
        exchange, routing_key = route(publication.routing_key, delay_seconds=1)
        self._again(replace(publication, exchange=exchange, routing_key=routing_key), done, tries, error)

    def _again(self, publication: Publication, done: Future[None], tries: int, error: BaseException) -> None:
        level = logging.WARNING if tries == WARN_AFTER_TRIES else logging.DEBUG
        logger.log(
            level,
            "a message to %s is not with the broker after %d tries, the last: %s; it is tried until it is",
            publication.exchange,
            tries,
            error,
            extra={"event": "publish_retried", "exchange": publication.exchange, "tries": tries},
        )
        bound = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(tries, 10))
        self._timers.after(self._rng.uniform(0, bound), lambda: self._try(publication, done, tries + 1))

    def _close(self, done: Future[None]) -> None:
        # First the result: whoever waits for an empty outbox expects its callbacks to have run.
        done.set_result(None)
        with self._changed:
            self._open -= 1
            self._changed.notify_all()
