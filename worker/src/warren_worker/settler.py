"""Carries settlements out: publish, wait for the confirms, and only then tell the broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from warren.transport import Delivery
from warren_worker.batch import Batcher
from warren_worker.outbox import Outbox
from warren_worker.settle import Settlement


class Settler:
    """Does what a settlement says.

    Args:
        outbox: Brings messages to the broker for certain.
        batcher: Brings events to the store for certain.
    """

    def __init__(self, outbox: Outbox, batcher: Batcher) -> None:
        self._outbox = outbox
        self._batcher = batcher
        self._changed = threading.Condition()
        self._open = 0

    def carry_out(
        self,
        delivery: Delivery,
        settlement: Settlement,
        settled: Callable[[bool], None] = lambda _finished: None,
    ) -> None:
        """Begin to settle a delivery, and return at once.

        Args:
            delivery: What is settled.
            settlement: How.
            settled: Told in the end whether what follows is safe with the broker, so that the message is not needed
                any more, wherever it may turn up again.
        """
        with self._changed:
            self._open += 1

        # A job whose connection is gone is handed out again by the broker: publishing it as well would make it two,
        # and publishing it once more for want of a confirm might make it three.
        def needed() -> bool:
            return delivery.alive or not settlement.again

        following = [self._outbox.send(publication, needed) for publication in settlement.publications]
        waits = list(following)
        if settlement.events:
            told = self._batcher.tell(settlement.events)
            if any(event.state.final for event in settlement.events):
                waits.append(told)
        _when_all(waits, lambda: self._finish(delivery, settlement, settled, following))

    @property
    def idle(self) -> bool:
        """Whether every settlement begun so far is carried out."""
        return not self._open

    def wait_settled(self, timeout_seconds: float) -> bool:
        """Wait until every settlement is carried out; False when the time is up."""
        self._batcher.flush()
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout_seconds)

    def _finish(
        self,
        delivery: Delivery,
        settlement: Settlement,
        settled: Callable[[bool], None],
        following: Sequence[Future[None]],
    ) -> None:
        try:
            if settlement.final == "ack":
                delivery.ack()
            else:
                delivery.nack()
            sent = not any(future.cancelled() for future in following)
            settled(sent and settlement.final == "ack")
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()


def _when_all(futures: Sequence[Future[None]], call: Callable[[], None]) -> None:
    """Call once when all futures are done; none fails, for what is sent is sent until it is there or not needed."""
    if not futures:
        call()
        return
    lock = threading.Lock()
    left = len(futures)

    def one_done(_future: Future[None]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = not left
        if last:
            call()

    for future in futures:
        future.add_done_callback(one_done)
