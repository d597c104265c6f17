"""Taking single messages: one channel per queue, so that one that breaks takes no other queue's deliveries along."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Final, TypeAlias

from pika import spec

from warren.amqp.consumer import AmqpDelivery, Session
from warren.amqp.declare import translate
from warren.amqp.frames import from_properties
from warren.amqp.loop import Loop
from warren.errors import TransportError, Unavailable
from warren.transport import Delivery

_AT_ONCE: Final = 1
"""Deliveries settled before the broker is told: what was taken singly is waited for elsewhere."""

Taken: TypeAlias = "Future[Delivery | None]"


class Getters:
    """Takes messages from any queues; `Tenant` of a connection."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._connection: Any = None
        self._getters: dict[str, _Getter] = {}

    def get(self, queue: str) -> Taken:
        """Take a message, from any thread."""
        future: Taken = Future()
        self._loop.call(lambda: self._getter(queue).ask(future))
        return future

    # The I/O thread.

    def connected(self, connection: Any) -> None:
        """Take a new connection; channels open with the first message that is asked for."""
        self._connection = connection
        for getter in self._getters.values():
            getter.connection = connection

    def disconnected(self) -> None:
        """Fail what was asked for; what was taken is with the broker again."""
        self._connection = None
        for getter in self._getters.values():
            getter.disconnected()

    def close(self) -> None:
        """Settle what was settled, and give back the rest."""
        for getter in self._getters.values():
            getter.close()

    def _getter(self, queue: str) -> _Getter:
        getter = self._getters.get(queue)
        if getter is None:
            getter = self._getters[queue] = _Getter(self._loop, queue)
            getter.connection = self._connection
        return getter


class _Getter:
    """Takes messages from one queue, one after the other: a channel has one `basic.get` under way at most."""

    def __init__(self, loop: Loop, queue: str) -> None:
        self.connection: Any = None
        self._loop = loop
        self._queue = queue
        self._session: Session | None = None
        self._opening = False
        self._waiting: deque[Taken] = deque()
        self._current: Taken | None = None

    def ask(self, future: Taken) -> None:
        if self.connection is None or not self.connection.is_open:
            _resolve(future, Unavailable())
            return
        self._waiting.append(future)
        self._next()

    def disconnected(self) -> None:
        self.connection = None
        self._lost(Unavailable("the connection was lost before the broker answered"))

    def close(self) -> None:
        if self._session is not None:
            self._session.return_all()
            self._session.flush()

    def _next(self) -> None:
        if self._current is not None or self._opening or not self._waiting:
            return
        if self._session is None:
            self._opening = True
            self.connection.channel(on_open_callback=self._on_open)
            return
        self._current = self._waiting.popleft()
        self._session.channel.basic_get(self._queue, callback=self._on_message)

    def _on_open(self, channel: Any) -> None:
        self._opening = False
        self._session = Session(self._loop, channel, _AT_ONCE, lambda: None)
        channel.add_on_close_callback(self._on_channel_closed)
        # pika tells of an empty queue only this way.
        channel.add_callback(lambda _frame: self._on_empty(), [spec.Basic.GetEmpty], one_shot=False)
        self._next()

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        session = self._session
        if session is None:
            return
        message = from_properties(properties, body)
        delivery = AmqpDelivery(session, method.delivery_tag, self._queue, method.redelivered, message)
        session.delivered(method.delivery_tag, delivery)
        self._answer(delivery)

    def _on_empty(self) -> None:
        self._answer(None)

    def _answer(self, delivery: Delivery | None) -> None:
        future, self._current = self._current, None
        if future is not None and not _resolve(future, delivery) and delivery is not None:
            delivery.nack()
        self._next()

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        if self._session is not None and self._session.channel is channel:
            self._lost(translate(reason))

    def _lost(self, error: TransportError) -> None:
        self._opening = False
        session, self._session = self._session, None
        if session is not None:
            session.die()
        failed = [*([self._current] if self._current else []), *self._waiting]
        self._current = None
        self._waiting.clear()
        for future in failed:
            _resolve(future, error)


def _resolve(future: Taken, result: Delivery | TransportError | None) -> bool:
    """Answer whoever asked; False when nobody wants it any more."""
    with suppress(InvalidStateError):
        if isinstance(result, TransportError):
            future.set_exception(result)
        else:
            future.set_result(result)
        return True
    return False
