"""Consuming: one channel per subscription, settles in batches, and a new channel whenever one is lost."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from warren.amqp.connection import backoff_seconds, explain
from warren.amqp.frames import from_properties
from warren.amqp.loop import Loop
from warren.amqp.settling import Acks
from warren.envelope import Message
from warren.topology import CONTROL
from warren.transport import OnDelivery

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 0.005


class AmqpDelivery:
    """One hand-out of a message by RabbitMQ."""

    __slots__ = ("_session", "_tag", "message", "queue", "redelivered")

    def __init__(self, session: Session, tag: int, queue: str, redelivered: bool, message: Message) -> None:
        self._session = session
        self._tag = tag
        self.queue = queue
        self.redelivered = redelivered
        self.message = message

    @property
    def delivery_count(self) -> int:
        """How many earlier hand-outs the broker counts as failed; before RabbitMQ 4.3 it counts every return."""
        count = self.message.headers.get("x-delivery-count", 0)
        return count if isinstance(count, int) else 0

    @property
    def alive(self) -> bool:
        """Whether settling still reaches the broker."""
        return self._tag in self._session.unsettled

    def ack(self) -> None:
        self._session.ack(self._tag)

    def nack(self) -> None:
        self._session.give_back(self._tag, failed=False)

    def reject(self) -> None:
        self._session.give_back(self._tag, failed=True)


class Session:
    """One channel and what was delivered on it. When the channel dies, so does the session and all its deliveries."""

    def __init__(self, loop: Loop, channel: Any, prefetch: int, on_idle: Callable[[], None]) -> None:
        self.channel = channel
        # Popping from a dict is atomic: of many settles of one delivery, from any threads, the first one counts.
        self.unsettled: dict[int, AmqpDelivery] = {}
        # Of the I/O thread alone. What is settled is not told yet: a channel closed between the two loses the ack.
        self._untold = 0
        self._loop = loop
        self._batch = max(prefetch // 10, 1)
        self._acks = Acks()
        self._acked: deque[int] = deque()
        self._returned: deque[tuple[int, bool]] = deque()
        # Raised by the settling thread, lowered by `flush` before it looks: no ack is left without a flush.
        self._timer_set = False
        self._flush_called = False
        self._on_idle = on_idle

    def delivered(self, tag: int, delivery: AmqpDelivery) -> None:
        """Note a delivery, on the I/O thread."""
        self.unsettled[tag] = delivery
        self._untold += 1

    def ack(self, tag: int) -> None:
        """Settle, from any thread."""
        if self.unsettled.pop(tag, None) is None:
            return
        self._acked.append(tag)
        if len(self._acked) >= self._batch:
            if not self._flush_called:
                self._flush_called = True
                self._loop.call(self.flush)
        elif not self._timer_set:
            self._timer_set = True
            self._loop.call(self._flush_later)

    def give_back(self, tag: int, *, failed: bool) -> None:
        """Settle by returning, from any thread."""
        if self.unsettled.pop(tag, None) is not None:
            self._returned.append((tag, failed))
            self._loop.call(self.flush)

    def flush(self) -> None:
        """Tell the broker, on the I/O thread. Returns go first: an ack of many must not swallow one."""
        self._timer_set = self._flush_called = False
        if not self.channel.is_open:
            return
        while self._returned:
            tag, failed = self._returned.popleft()
            self._untold -= 1
            self._acks.settled_singly(tag)
            if failed:
                self.channel.basic_reject(tag, requeue=True)
            else:
                self.channel.basic_nack(tag, requeue=True)
        acked = [self._acked.popleft() for _ in range(len(self._acked))]
        self._untold -= len(acked)
        for tag, multiple in self._acks.plan(acked):
            self.channel.basic_ack(tag, multiple)
        if not self._untold:
            self._on_idle()

    def _flush_later(self) -> None:
        self._loop.later(FLUSH_SECONDS, self.flush)

    def return_all(self) -> None:
        """Give back everything at hand."""
        for tag in list(self.unsettled):
            self.give_back(tag, failed=False)

    def die(self) -> None:
        """The channel is gone: the broker hands out again what was unsettled."""
        self.unsettled.clear()
        self._acked.clear()
        self._returned.clear()


class AmqpSubscription:
    """A wish to consume a queue, kept through every loss until stopped. Runs on the I/O thread, but for `stop`."""

    def __init__(
        self,
        loop: Loop,
        queue: str,
        on_delivery: OnDelivery,
        prefetch: int,
        consumer_timeout_seconds: float | None,
        reconnect_max_seconds: float,
    ) -> None:
        self._loop = loop
        self._queue = queue
        self._on_delivery = on_delivery
        self._prefetch = prefetch
        self._timeout_seconds = consumer_timeout_seconds
        self._reconnect_max_seconds = reconnect_max_seconds
        self._rng = random.Random()
        self._failures = 0
        self._connection: Any = None
        self._session: Session | None = None
        self._consumer_tag: str | None = None
        self._active = False
        self._stopping = False
        self._stopped: Future[None] = Future()
        self._next_offset: int | str = "first"

    @property
    def active(self) -> bool:
        """Whether the broker is handing out messages to it now."""
        return self._active

    @property
    def ended(self) -> bool:
        """Whether it is stopped and its channel is closed."""
        return self._stopped.done() and self._session is None

    def stop(self) -> Future[None]:
        """Ask for no more deliveries, from any thread."""
        self._loop.call(self.cancel)
        return self._stopped

    # The I/O thread.

    def connected(self, connection: Any) -> None:
        """Open a channel on the connection."""
        self._connection = connection
        self._failures = 0
        self._subscribe()

    def disconnected(self) -> None:
        """Forget the connection; the channel's own close callback has come before."""
        self._connection = None
        self._lost()

    def cancel(self) -> None:
        """Ask the broker for no more deliveries; what is at hand can still be settled."""
        if self._stopping:
            return
        self._stopping = True
        session, tag = self._session, self._consumer_tag
        if session is None or tag is None or not session.channel.is_open:
            self._finish()
            return
        session.channel.basic_cancel(tag, callback=lambda _frame: self._on_cancelled())
        # pika rejects what is still on its way to a cancelled consumer, which counts as a failure; we give it back.
        session.channel._cancelled.discard(tag)

    def close(self) -> None:
        """End at once: settle what was settled, give back the rest."""
        self.cancel()
        if self._session is not None:
            self._session.return_all()
            self._session.flush()
        self._finish()

    def _subscribe(self) -> None:
        if self._connection is not None and self._connection.is_open and not self._stopping:
            self._connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Any) -> None:
        if self._stopping:
            channel.close()
            return
        self._session = Session(self._loop, channel, self._prefetch, self._on_idle)
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_cancel_callback(self._on_cancel_by_broker)
        channel.basic_qos(prefetch_count=self._prefetch, callback=lambda _frame: self._consume(channel))

    def _consume(self, channel: Any) -> None:
        if self._stopping:
            # Stopped while the channel was made ready: nobody else would close it.
            self._finish()
            channel.close()
            return
        arguments: dict[str, Any] = {}
        if self._timeout_seconds is not None:
            arguments["x-consumer-timeout"] = int(self._timeout_seconds * 1000)
        if self._queue == CONTROL:
            # A stream: every worker reads it from its start, and after a loss goes on where it was.
            arguments["x-stream-offset"] = self._next_offset
        self._consumer_tag = channel.basic_consume(
            self._queue, self._on_message, arguments=arguments, callback=self._on_consuming
        )

    def _on_consuming(self, _frame: Any) -> None:
        self._failures = 0
        self._active = not self._stopping

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        session = self._session
        if session is None:
            return
        tag = method.delivery_tag
        delivery = AmqpDelivery(session, tag, self._queue, method.redelivered, from_properties(properties, body))
        if isinstance(offset := delivery.message.headers.get("x-stream-offset"), int):
            self._next_offset = offset + 1
        session.delivered(tag, delivery)
        if self._stopping:
            delivery.nack()
            return
        try:
            self._on_delivery(delivery)
        except Exception:
            logger.exception("a delivery callback failed", extra={"event": "delivery_callback_failed"})
            delivery.nack()

    def _on_cancel_by_broker(self, _frame: Any) -> None:
        """The queue was deleted or moved, or the consumer timed out (RabbitMQ 4.3): only a new channel helps."""
        session = self._session
        if session is not None and session.channel.is_open:
            session.flush()
            session.channel.close(reply_text="cancelled by the broker")

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        if self._session is None or self._session.channel is not channel:
            return
        self._lost()
        if self._connection is None or not self._connection.is_open or self._stopping:
            return
        self._failures += 1
        wait = backoff_seconds(self._failures, self._reconnect_max_seconds, self._rng)
        logger.warning(
            "consuming %s was interrupted (attempt %d): %s; next try in %.1f s",
            self._queue,
            self._failures,
            explain(reason),
            wait,
            extra={"event": "broker_consumer_lost", "queue": self._queue, "attempt": self._failures},
        )
        self._loop.later(wait, self._subscribe)

    def _on_cancelled(self) -> None:
        self._finish()
        if self._session is not None:
            self._session.flush()

    def _on_idle(self) -> None:
        """The broker was told of everything: a stopped subscription needs its channel no longer."""
        session = self._session
        if self._stopped.done() and session is not None and session.channel.is_open:
            session.channel.close()

    def _lost(self) -> None:
        self._active = False
        self._consumer_tag = None
        if self._session is not None:
            self._session.die()
            self._session = None
        if self._stopping:
            self._finish()

    def _finish(self) -> None:
        self._active = False
        if not self._stopped.done():
            self._stopped.set_result(None)
