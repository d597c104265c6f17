"""Declaring and looking: a utility channel that does one operation at a time, so that an error belongs to one of them.

The broker answers a wrong declare by closing the channel; here only the utility channel, which the next operation opens
anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from warren.amqp.connection import explain
from warren.amqp.loop import Loop
from warren.errors import TopologyError, TransportError, Unavailable
from warren.topology import Binding, Exchange, Queue, Topology
from warren.transport import QueueDepth

OnDone: TypeAlias = Callable[[Any], None]
Step: TypeAlias = Callable[[Any, OnDone], object]
"""Sends one method on a channel and has its answer handed to the callback."""


@dataclass(slots=True, eq=False)
class _Operation:
    steps: list[Step]
    read: Callable[[Any], Any]
    future: Future[Any]
    at: int = 0


class Utility:
    """Runs operations on the utility channel; `Tenant` of a connection."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._connection: Any = None
        self._channel: Any = None
        self._waiting: deque[_Operation] = deque()
        self._current: _Operation | None = None

    # Any thread.

    def declare(self, topology: Topology) -> Future[None]:
        """Declare exchanges, queues and bindings."""
        return self._submit(declare_steps(topology), lambda _frame: None)

    def depth(self, queue: str) -> Future[QueueDepth]:
        """Ask for a queue's depth."""
        return self._submit(
            [lambda channel, done: channel.queue_declare(queue, passive=True, callback=done)],
            lambda frame: QueueDepth(ready=frame.method.message_count, consumers=frame.method.consumer_count),
        )

    def look(self, thing: Exchange | Queue) -> Future[None]:
        """Fail with `TopologyError` when an exchange or queue does not exist; needs no configure right."""
        return self._submit([_look(thing)], lambda _frame: None)

    def _submit(self, steps: list[Step], read: Callable[[Any], Any]) -> Future[Any]:
        operation = _Operation(steps, read, Future())
        self._loop.call(lambda: self._enqueue(operation))
        return operation.future

    # The I/O thread.

    def connected(self, connection: Any) -> None:
        """Take a new connection; its channel opens with the first operation."""
        self._connection = connection

    def disconnected(self) -> None:
        """Fail what was asked for."""
        self._connection = self._channel = None
        self.fail_rest()

    def fail_rest(self) -> None:
        """Fail all that waits: nobody will answer."""
        current, self._current = self._current, None
        for operation in [*([current] if current else []), *self._waiting]:
            _fail(operation, Unavailable("the connection was lost before the broker answered"))
        self._waiting.clear()

    def _enqueue(self, operation: _Operation) -> None:
        if self._connection is None or not self._connection.is_open:
            _fail(operation, Unavailable())
            return
        self._waiting.append(operation)
        self._next()

    def _next(self) -> None:
        if self._current is not None or not self._waiting:
            return
        self._current = self._waiting.popleft()
        if self._channel is not None and self._channel.is_open:
            self._step()
        else:
            self._connection.channel(on_open_callback=self._on_open)

    def _on_open(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        self._step()

    def _step(self, frame: Any = None) -> None:
        operation = self._current
        if operation is None:
            return
        if operation.at < len(operation.steps):
            step = operation.steps[operation.at]
            operation.at += 1
            step(self._channel, self._step)
            return
        self._current = None
        with suppress(InvalidStateError):
            operation.future.set_result(operation.read(frame))
        self._next()

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        operation, self._current = self._current, None
        if operation is not None:
            _fail(operation, translate(reason))
        if self._connection is not None and self._connection.is_open:
            self._next()


def declare_steps(topology: Topology) -> list[Step]:
    """Turn a topology into methods to send, in the order they depend on each other."""
    return [
        *(partial(_exchange, each) for each in topology.exchanges),
        *(partial(_queue, each) for each in topology.queues),
        *(partial(_binding, each) for each in topology.bindings),
    ]


def _exchange(exchange: Exchange, channel: Any, done: OnDone) -> None:
    channel.exchange_declare(exchange.name, exchange_type=exchange.type, durable=True, callback=done)


def _queue(queue: Queue, channel: Any, done: OnDone) -> None:
    channel.queue_declare(queue.name, durable=True, arguments={"x-queue-type": queue.type}, callback=done)


def _binding(binding: Binding, channel: Any, done: OnDone) -> None:
    bind = channel.queue_bind if binding.to == "queue" else channel.exchange_bind
    bind(binding.destination, binding.source, routing_key=binding.key, callback=done)


def _look(thing: Exchange | Queue) -> Step:
    def step(channel: Any, done: OnDone) -> None:
        declare = channel.queue_declare if isinstance(thing, Queue) else channel.exchange_declare
        declare(thing.name, passive=True, callback=done)

    return step


def translate(reason: Exception) -> TransportError:
    """Say as an error of ours why the broker closed a channel."""
    code = getattr(reason, "reply_code", None)
    # 403 no right, 404 not there, 405 locked, 406 there but otherwise; all else is the connection's end.
    if code in (403, 404, 405, 406):
        return TopologyError(f"the broker refused: {explain(reason)}")
    return Unavailable(f"the broker did not answer: {explain(reason)}")


def _fail(operation: _Operation, error: TransportError) -> None:
    with suppress(InvalidStateError):
        operation.future.set_exception(error)
