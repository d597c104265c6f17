"""A transport without a broker, for tests: yours and Warren's own.

It keeps the promises of the AMQP transport (both pass one conformance suite) and follows the topology it is given,
policies included: delay ladder, dead-lettering, delivery limit, alternate exchange. Time stands still until
`advance` is called, so that a test of a delay of a day takes no time:

```python
transport = MemoryTransport()
transport.start()
transport.declare(topology(["default"]))
transport.publish(job_publication(envelope, delay_seconds=3600))
transport.advance(3600)
```
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Final

from warren.envelope import Message
from warren.errors import (
    Blocked,
    OutcomeUnknown,
    QueueFull,
    TopologyError,
    TransportError,
    Unavailable,
    Unroutable,
    WindowFull,
)
from warren.memory_broker import Broker, Stored
from warren.topology import Topology
from warren.transport import Delivery, OnDelivery, Publication, QueueDepth, TransportStatus

logger = logging.getLogger(__name__)

DEFAULT_WINDOW: Final = 2000
_TICK_SECONDS: Final = 0.05

_Confirm = tuple["Future[None]", Exception | None]
_Answer = tuple["Future[Delivery | None]", Delivery | TransportError | None]


class MemoryTransport:
    """A `Transport` whose broker lives in this object and outlives `stop`.

    Args:
        clock: Seconds on some clock, to let time run by itself; without one only `advance` moves time.
        window: Most publishes unconfirmed at a time.
    """

    def __init__(self, clock: Callable[[], float] | None = None, *, window: int = DEFAULT_WINDOW) -> None:
        self._clock = clock
        self._window = window
        self._advanced = 0.0
        self._broker = Broker()
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._online = True
        self._blocked = False
        self._holding = False
        self._outbox: deque[tuple[Publication, Future[None]]] = deque()
        self._confirms: deque[_Confirm] = deque()
        self._unconfirmed = 0
        self._subscriptions: list[_MemorySubscription] = []
        self._ended: list[_MemorySubscription] = []
        self._getters: dict[str, _MemorySubscription] = {}
        self._answers: deque[_Answer] = deque()

    def start(self) -> None:
        with self._changed:
            if self._thread is not None:
                return
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="warren-memory", daemon=True)
            self._thread.start()
            self._changed.notify_all()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        with self._changed:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._changed.wait_for(lambda: not self._unconfirmed, timeout_seconds)
            self._stopping = True
            failed = self._fail_unconfirmed()
            self._give_back(counted=False)
            self._subscriptions.clear()
            self._changed.notify_all()
        _resolve(failed)
        if thread is not threading.current_thread():
            thread.join(timeout_seconds)

    def wait_ready(self, timeout_seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._connected, timeout_seconds)

    @property
    def status(self) -> TransportStatus:
        """How the transport is doing now."""
        with self._changed:
            return TransportStatus(connected=self._connected, blocked=self._blocked, unconfirmed=self._unconfirmed)

    def publish(self, publication: Publication, *, wait_seconds: float = 0.0) -> Future[None]:
        future: Future[None] = Future()
        with self._changed:
            if wait_seconds > 0:
                self._changed.wait_for(self._settled_how, wait_seconds)
            if not self._connected:
                raise Unavailable("the in-memory transport is stopped or disconnected; call start() or reconnect()")
            if self._blocked:
                raise Blocked
            if self._unconfirmed >= self._window:
                raise WindowFull(f"{self._unconfirmed} publishes are unconfirmed, the window is {self._window}")
            self._unconfirmed += 1
            self._outbox.append((publication, future))
            self._changed.notify_all()
        return future

    def consume(
        self,
        queue: str,
        on_delivery: OnDelivery,
        *,
        prefetch: int,
        consumer_timeout_seconds: float | None = None,  # noqa: ARG002 - nobody times out here
    ) -> _MemorySubscription:
        subscription = _MemorySubscription(self, queue, on_delivery, prefetch)
        with self._changed:
            if self._thread is None:
                raise Unavailable("the transport is not started; call start() first")
            subscription.backlog.extend(self._broker.log(queue))
            self._subscriptions.append(subscription)
            self._changed.notify_all()
        return subscription

    def get(self, queue: str) -> Future[Delivery | None]:
        future: Future[Delivery | None] = Future()
        with self._changed:
            if self._thread is None:
                raise Unavailable("the transport is not started; call start() first")
            answer: Delivery | TransportError | None
            if not self._connected:
                answer = Unavailable()
            elif self._broker.ready(queue) is None:
                answer = _no_queue(queue)
            else:
                answer = self._take(queue)
            self._answers.append((future, answer))
            self._changed.notify_all()
        return future

    def declare(self, topology: Topology) -> Future[None]:
        future: Future[None] = Future()
        with self._changed:
            try:
                if not self._connected:
                    raise Unavailable
                self._broker.declare(topology)
            except (TopologyError, Unavailable) as error:
                future.set_exception(error)
            else:
                future.set_result(None)
            self._changed.notify_all()
        return future

    def depth(self, queue: str) -> Future[QueueDepth]:
        future: Future[QueueDepth] = Future()
        with self._changed:
            if not self._connected:
                future.set_exception(Unavailable())
            elif (ready := self._broker.ready(queue)) is None:
                future.set_exception(_no_queue(queue))
            else:
                consumers = sum(subscription.queue == queue for subscription in self._subscriptions)
                future.set_result(QueueDepth(ready=ready, consumers=consumers))
        return future

    def advance(self, seconds: float) -> None:
        """Let time pass: what is due has left the delay ladder when this returns."""
        with self._changed:
            self._flush_outbox()
            self._advanced += seconds
            self._broker.move_to(self._now())
            self._changed.notify_all()

    def messages(self, queue: str) -> list[Message]:
        """Return the messages ready in a queue, by its broker name, oldest first, and leave them there."""
        with self._changed:
            self._flush_outbox()
            return [stored.message for stored in self._broker.peek(queue)]

    def disconnect(self) -> None:
        """Lose the connection, for tests: unsettled deliveries go back and count, unconfirmed publishes fail."""
        with self._changed:
            self._online = False
            failed = self._fail_unconfirmed()
            self._give_back(counted=True)
            self._changed.notify_all()
        _resolve(failed)

    def reconnect(self) -> None:
        """Get the connection back."""
        with self._changed:
            self._online = True
            self._changed.notify_all()

    def block(self) -> None:
        """Raise the broker's memory alarm, for tests: publishes are refused, consuming goes on."""
        with self._changed:
            self._blocked = True
            self._changed.notify_all()

    def unblock(self) -> None:
        """Clear the alarm."""
        with self._changed:
            self._blocked = False
            self._changed.notify_all()

    def hold_confirms(self) -> None:
        """Take publishes but confirm none, for tests; a `disconnect` then leaves their outcome unknown."""
        with self._changed:
            self._holding = True

    def release_confirms(self) -> None:
        """Confirm what was held, and from now on at once."""
        with self._changed:
            self._holding = False
            self._changed.notify_all()

    @property
    def _connected(self) -> bool:
        return self._thread is not None and self._online

    def _settled_how(self) -> bool:
        """Whether waiting any longer cannot help a publish."""
        return self._connected and (self._blocked or self._unconfirmed < self._window)

    def _now(self) -> float:
        return self._advanced + (self._clock() if self._clock else 0.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._broker.move_to(self._now())
                self._flush_outbox()
                confirms, deliveries = self._take_confirms(), self._take_deliveries()
                answers, self._answers = self._answers, deque()
                if not confirms and not deliveries and not answers:
                    if self._stopping:
                        return
                    self._changed.wait(_TICK_SECONDS if self._clock else None)
                    continue
            _resolve(confirms)
            for future, answer in answers:
                _answer(future, answer)
            for subscription, delivery in deliveries:
                subscription.hand_over(delivery)
            with self._changed:
                self._unconfirmed -= len(confirms)
                self._changed.notify_all()

    def _flush_outbox(self) -> None:
        while self._outbox:
            publication, future = self._outbox.popleft()
            self._confirms.append((future, self._put(publication)))

    def _put(self, publication: Publication) -> Exception | None:
        queues = self._broker.route(publication.exchange, publication.routing_key)
        where = f"exchange {publication.exchange!r} with key {publication.routing_key!r}"
        if not queues:
            return Unroutable(f"{where} leads to no queue; declare the queue first")
        if any(self._broker.is_full(queue) for queue in queues):
            return QueueFull(f"{where} leads to a queue at its limit; try again later")
        for queue in queues:
            stored = self._broker.put(queue, publication, self._now())
            for subscription in self._subscriptions:
                if subscription.queue == queue and self._broker.is_stream(queue):
                    subscription.backlog.append(stored)
        return None

    def _take_confirms(self) -> list[_Confirm]:
        taken = [] if self._holding else list(self._confirms)
        if taken:
            self._confirms.clear()
        return taken

    def _take_deliveries(self) -> list[tuple[_MemorySubscription, MemoryDelivery]]:
        if not self._connected:
            return []
        taken: list[tuple[_MemorySubscription, MemoryDelivery]] = []
        for subscription in self._subscriptions:
            while len(subscription.unsettled) < subscription.prefetch:
                stored = self._next(subscription)
                if stored is None:
                    break
                delivery = MemoryDelivery(self, subscription, stored)
                subscription.unsettled[id(delivery)] = delivery
                taken.append((subscription, delivery))
        # Consumers take turns.
        self._subscriptions[:] = self._subscriptions[1:] + self._subscriptions[:1]
        return taken

    def _take(self, queue: str) -> MemoryDelivery | None:
        self._flush_outbox()
        stored = self._broker.take(queue)
        if stored is None:
            return None
        getter = self._getters.setdefault(queue, _MemorySubscription(self, queue, _nobody, 0))
        delivery = MemoryDelivery(self, getter, stored)
        getter.unsettled[id(delivery)] = delivery
        return delivery

    def _next(self, subscription: _MemorySubscription) -> Stored | None:
        if self._broker.is_stream(subscription.queue):
            return subscription.backlog.popleft() if subscription.backlog else None
        return self._broker.take(subscription.queue)

    def _fail_unconfirmed(self) -> list[_Confirm]:
        """Outcomes of what was published and not confirmed: never written, or written and unknown."""
        failed: list[_Confirm] = [(future, Unavailable()) for _, future in self._outbox]
        failed += [(future, error or OutcomeUnknown()) for future, error in self._confirms]
        self._outbox.clear()
        self._confirms.clear()
        self._unconfirmed -= len(failed)
        return failed

    def _give_back(self, *, counted: bool) -> None:
        for subscription in (*self._subscriptions, *self._ended, *self._getters.values()):
            for delivery in list(subscription.unsettled.values()):
                self.settle(delivery, back=True, counted=counted)
        self._ended.clear()

    def settle(self, delivery: MemoryDelivery, *, back: bool, counted: bool) -> None:
        """Take a delivery off its subscription's hands, once."""
        with self._changed:
            if delivery.subscription.unsettled.pop(id(delivery), None) is None:
                return
            queue = delivery.subscription.queue
            if back and not self._broker.is_stream(queue):
                self._broker.give_back(queue, delivery.stored, counted=counted)
            self._changed.notify_all()

    def unsubscribe(self, subscription: _MemorySubscription) -> Future[None]:
        """End a subscription; its deliveries at hand can still be settled."""
        future: Future[None] = Future()
        with self._changed:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
                self._ended.append(subscription)
            future.set_result(None)
        return future

    def is_active(self, subscription: _MemorySubscription) -> bool:
        """Whether a subscription gets deliveries now."""
        with self._changed:
            exists = self._broker.ready(subscription.queue) is not None
            return self._connected and exists and subscription in self._subscriptions


class _MemorySubscription:
    def __init__(self, transport: MemoryTransport, queue: str, on_delivery: OnDelivery, prefetch: int) -> None:
        self.queue = queue
        self.prefetch = prefetch
        self.unsettled: dict[int, MemoryDelivery] = {}
        self.backlog: deque[Stored] = deque()
        self._transport = transport
        self._on_delivery = on_delivery
        self._stopped = False

    @property
    def active(self) -> bool:
        return self._transport.is_active(self)

    def stop(self) -> Future[None]:
        self._stopped = True
        return self._transport.unsubscribe(self)

    def hand_over(self, delivery: MemoryDelivery) -> None:
        if self._stopped:
            delivery.nack()
            return
        try:
            self._on_delivery(delivery)
        except Exception:
            logger.exception("a delivery callback failed", extra={"event": "delivery_callback_failed"})
            delivery.nack()


class MemoryDelivery:
    """One hand-out of a message by a `MemoryTransport`."""

    __slots__ = ("_delivery_count", "_redelivered", "_transport", "stored", "subscription")

    def __init__(self, transport: MemoryTransport, subscription: _MemorySubscription, stored: Stored) -> None:
        self._transport = transport
        self.subscription = subscription
        self.stored = stored
        self._redelivered = stored.handed_out > 1
        self._delivery_count = stored.failures

    @property
    def message(self) -> Message:
        """The message, with all its headers."""
        return self.stored.message

    @property
    def queue(self) -> str:
        """The broker's name of the queue it came from."""
        return self.subscription.queue

    @property
    def redelivered(self) -> bool:
        """Whether it was handed out before."""
        return self._redelivered

    @property
    def delivery_count(self) -> int:
        """How many earlier hand-outs failed."""
        return self._delivery_count

    @property
    def alive(self) -> bool:
        """Whether settling still does something."""
        return id(self) in self.subscription.unsettled

    def ack(self) -> None:
        self._transport.settle(self, back=False, counted=False)

    def nack(self) -> None:
        self._transport.settle(self, back=True, counted=False)

    def reject(self) -> None:
        self._transport.settle(self, back=True, counted=True)


def _nobody(_delivery: Delivery) -> None:
    """Whom messages that are taken singly are handed to."""


def _no_queue(queue: str) -> TopologyError:
    return TopologyError(f"queue {queue!r} does not exist; declare the topology first")


def _answer(future: Future[Delivery | None], answer: Delivery | TransportError | None) -> None:
    try:
        if isinstance(answer, TransportError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
    except InvalidStateError:
        # Whoever asked has cancelled.
        if answer is not None and not isinstance(answer, TransportError):
            answer.nack()


def _resolve(confirms: list[_Confirm]) -> None:
    for future, error in confirms:
        # A caller may have cancelled: the message went out all the same.
        with suppress(InvalidStateError):
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
