"""Publishing that does not give up: a message handed in here is sent until the broker confirms it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
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

    def send(self, publication: Publication, needed: Callable[[], bool] = lambda: True) -> Future[None]:
        """Send a message; the future is done when the broker has it safe.

        Args:
            publication: What is sent.
            needed: Asked each time before it is sent; when it is not needed any more, the future is cancelled.
        """
        sending = _Sending(publication, needed)
        with self._changed:
            self._open += 1
        self._try(sending, 1)
        return sending.done

    def wait_empty(self, timeout_seconds: float) -> bool:
        """Wait until everything is confirmed; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_seconds)

    def _try(self, sending: _Sending, tries: int) -> None:
        if not sending.needed():
            self._close(sending, sent=False)
            return
        try:
            sent = self._transport.publish(sending.publication)
        except TransportError as error:
            self._again(sending, tries, error)
        else:
            sent.add_done_callback(lambda sent: self._judge(sending, tries, sent.exception()))

    def _judge(self, sending: _Sending, tries: int, error: BaseException | None) -> None:
        if error is None:
            self._close(sending, sent=True)
        elif isinstance(error, Unroutable) and sending.publication.exchange == JOBS:
            logger.error("a job cannot go back to its queue: %s", error, extra={"event": "retry_unroutable"})
            sending.detour()
            self._again(sending, tries, error)
        else:
            self._again(sending, tries, error)

    def _again(self, sending: _Sending, tries: int, error: BaseException) -> None:
        exchange = sending.publication.exchange
        level = logging.WARNING if tries == WARN_AFTER_TRIES else logging.DEBUG
        logger.log(
            level,
            "a message to %s is not with the broker after %d tries, the last: %s; it is tried until it is",
            exchange,
            tries,
            error,
            extra={"event": "publish_retried", "exchange": exchange, "tries": tries},
        )
        bound = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(tries, 10))
        self._timers.after(self._rng.uniform(0, bound), lambda: self._try(sending, tries + 1))

    def _close(self, sending: _Sending, *, sent: bool) -> None:
        # First the result: whoever waits for an empty outbox expects its callbacks to have run.
        if sent:
            sending.done.set_result(None)
        else:
            sending.done.cancel()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()


@dataclass(eq=False)
class _Sending:
    """One message under way.

    Attributes:
        publication: What is sent.
        needed: Whether it still has to be there.
        done: Its future.
    """

    publication: Publication
    needed: Callable[[], bool]
    done: Future[None] = field(default_factory=Future)

    def detour(self) -> None:
        """Go by the delay ladder instead of straight to the queue."""
        exchange, routing_key = route(self.publication.routing_key, delay_seconds=1)
        self.publication = replace(self.publication, exchange=exchange, routing_key=routing_key)
