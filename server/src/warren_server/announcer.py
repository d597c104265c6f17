"""Orders to workers: published to the control stream, and again before the stream forgets those still needed."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from warren.control import Order, as_message, encode_order
from warren.envelope import Message
from warren.errors import OutcomeUnknown, TransportError
from warren.transport import Transport, control_publication
from warren_server.errors import StoreError
from warren_server.store.announcements import AnnouncementStore

logger = logging.getLogger(__name__)

RENEW_AFTER_SECONDS: Final = 3 * 86400
"""The stream keeps a week: an order is announced again well before, also when the servers were down for days."""
LOOK_SECONDS: Final = 60.0


class Announcer:
    """Sends orders.

    Args:
        transport: Where to.
        store: Where orders are kept that must outlive the stream's age.
        wait_seconds: How long to wait for a connection, and then for the confirm.
    """

    def __init__(self, transport: Transport, store: AnnouncementStore, wait_seconds: float) -> None:
        self._transport = transport
        self._store = store
        self._wait_seconds = wait_seconds
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def announce(self, order: Order, subject: str | None = None, until_ms: int | None = None) -> None:
        """Send an order, and return when the broker has it.

        Args:
            order: The order.
            subject: What it is about, for orders that must stay known; a later one on it takes this one's place.
            until_ms: When nobody can need it any more, or None for never.

        Raises:
            TransportError: The broker did not take it, or did not say so in time; sending it again is harmless.
            StoreError: It was sent, but cannot be kept; sending it again is harmless.
        """
        message = encode_order(order)
        self._send(message)
        if subject is not None:
            self._store.put(subject, message.body, _now_ms(), until_ms)

    def withdraw(self, subject: str, order: Order) -> None:
        """Forget the order on a subject, and send the one that ends it.

        Raises:
            StoreError: It cannot be forgotten; nothing was sent.
            TransportError: The broker did not take it, or did not say so in time; sending it again is harmless.
        """
        self._store.remove(subject)
        self._send(encode_order(order))

    def start(self) -> None:
        """Look after orders that grow old. Idempotent."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="warren-announcer", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop. Idempotent, safe before `start`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join(timeout_seconds)

    def renew(self) -> int:
        """Announce again what grows old; return how many orders that were."""
        now_ms = _now_ms()
        self._store.expire(now_ms)
        renewed = 0
        while self._store.renew(now_ms - RENEW_AFTER_SECONDS * 1000, now_ms, self._announce_again):
            renewed += 1
        return renewed

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.renew()
            except (StoreError, TransportError) as error:
                logger.warning("cannot announce old orders again: %s", error, extra={"event": "announce_failed"})

    def _announce_again(self, body: bytes) -> None:
        self._send(as_message(body))

    def _send(self, message: Message) -> None:
        sent = self._transport.publish(control_publication(message), wait_seconds=self._wait_seconds)
        try:
            sent.result(self._wait_seconds)
        except FutureTimeout:
            raise OutcomeUnknown(
                f"the broker did not confirm the order within {self._wait_seconds:g} s; give it again"
            ) from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
