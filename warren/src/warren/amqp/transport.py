"""The transport on RabbitMQ: one I/O thread, a connection to publish on and a connection to consume on."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import Future
from typing import Any, Final

from warren.amqp.connection import Link
from warren.amqp.consumer import AmqpSubscription
from warren.amqp.declare import Utility
from warren.amqp.getting import Getters
from warren.amqp.loop import Loop
from warren.amqp.publisher import Publisher
from warren.errors import TransportError, Unavailable
from warren.settings import BrokerSettings
from warren.topology import Exchange, Queue, Topology
from warren.transport import Delivery, OnDelivery, Publication, QueueDepth, TransportStatus

logger = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 3.0
"""How long an orderly close may take before the sockets are dropped."""
_ABORT_SECONDS: Final = 0.1
_OFFLINE: Final = TransportStatus(connected=False, blocked=False, unconfirmed=0)


class AmqpTransport:
    """A `Transport` on RabbitMQ. Make it after a fork: threads and sockets do not survive one.

    Args:
        settings: The broker's settings. No I/O happens before `start`.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._engine: _Engine | None = None
        self._process = 0

    def start(self) -> None:
        with self._lock:
            if self._engine is None:
                self._process = os.getpid()
                self._engine = _Engine(self._settings)
                self._engine.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None and self._process == os.getpid():
            engine.stop(timeout_seconds)

    def wait_ready(self, timeout_seconds: float) -> bool:
        return self._running().wait_ready(timeout_seconds)

    @property
    def status(self) -> TransportStatus:
        """How the transport is doing now."""
        engine = self._engine
        return _OFFLINE if engine is None else engine.publisher.status

    @property
    def loop_age_seconds(self) -> float:
        """How long the I/O thread has not turned; for liveness, which never asks about the broker."""
        engine = self._engine
        return 0.0 if engine is None else engine.loop.age_seconds

    def publish(self, publication: Publication, *, wait_seconds: float = 0.0) -> Future[None]:
        return self._running().publisher.publish(publication, wait_seconds)

    def consume(
        self,
        queue: str,
        on_delivery: OnDelivery,
        *,
        prefetch: int,
        consumer_timeout_seconds: float | None = None,
    ) -> AmqpSubscription:
        return self._running().consumers.add(queue, on_delivery, prefetch, consumer_timeout_seconds)

    def get(self, queue: str) -> Future[Delivery | None]:
        return self._running().getters.get(queue)

    def declare(self, topology: Topology) -> Future[None]:
        return self._running().utility.declare(topology)

    def depth(self, queue: str) -> Future[QueueDepth]:
        return self._running().utility.depth(queue)

    def look(self, thing: Exchange | Queue) -> Future[None]:
        """Fail with `TopologyError` when an exchange or queue does not exist; changes nothing on the broker."""
        return self._running().utility.look(thing)

    def _running(self) -> _Engine:
        engine = self._engine
        if engine is None:
            raise Unavailable("the transport is not started; call start() first")
        if self._process != os.getpid():
            raise TransportError(
                f"the transport was started in process {self._process} and is used in {os.getpid()}; "
                "make and start one in each process, after the fork"
            )
        return engine


class _Consumers:
    """All subscriptions, and the other channels beside them; `Tenant` of the consuming connection."""

    def __init__(self, loop: Loop, settings: BrokerSettings, utility: Utility, getters: Getters) -> None:
        self.opened = threading.Event()
        self._loop = loop
        self._settings = settings
        self._utility = utility
        self._getters = getters
        self._connection: Any = None
        self._subscriptions: list[AmqpSubscription] = []

    def add(
        self, queue: str, on_delivery: OnDelivery, prefetch: int, consumer_timeout_seconds: float | None
    ) -> AmqpSubscription:
        """Subscribe, from any thread."""
        subscription = AmqpSubscription(
            self._loop, queue, on_delivery, prefetch, consumer_timeout_seconds, self._settings.reconnect_max_seconds
        )
        self._loop.call(lambda: self._adopt(subscription))
        return subscription

    def connected(self, connection: Any) -> None:
        self._connection = connection
        self._utility.connected(connection)
        self._getters.connected(connection)
        for subscription in self._subscriptions:
            subscription.connected(connection)
        self.opened.set()

    def disconnected(self) -> None:
        self.opened.clear()
        self._connection = None
        self._utility.disconnected()
        self._getters.disconnected()
        for subscription in self._subscriptions:
            subscription.disconnected()

    def close(self) -> None:
        """Settle and end every subscription."""
        self._getters.close()
        for subscription in self._subscriptions:
            subscription.close()

    def _adopt(self, subscription: AmqpSubscription) -> None:
        self._subscriptions[:] = [each for each in self._subscriptions if not each.ended]
        self._subscriptions.append(subscription)
        if self._connection is not None:
            subscription.connected(self._connection)


class _Engine:
    """What runs between `start` and `stop`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.loop = Loop(self._on_crash)
        self.publisher = Publisher(self.loop, settings.window)
        self.utility = Utility(self.loop)
        self.getters = Getters(self.loop)
        self.consumers = _Consumers(self.loop, settings, self.utility, self.getters)
        self._links = (
            Link(settings, self.loop, "publishing", self.publisher),
            Link(settings, self.loop, "consuming", self.consumers),
        )
        self._open_links = len(self._links)

    def start(self) -> None:
        for link in self._links:
            self.loop.call(link.open)
        self.loop.start()

    def wait_ready(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        return self.publisher.wait_ready(timeout_seconds) and self.consumers.opened.wait(
            max(deadline - time.monotonic(), 0)
        )

    def stop(self, timeout_seconds: float) -> None:
        self.publisher.refuse_all()
        if self.loop.is_current:
            # A callback stops us: nothing can be confirmed while it runs, and a thread cannot wait for itself.
            self._close()
            return
        self.publisher.wait_confirmed(timeout_seconds)
        self.loop.call(self._close)
        if not self.loop.join(_CLOSE_SECONDS):
            logger.warning("the broker did not answer the close", extra={"event": "broker_close_timeout"})
            self.loop.call(self._abort)
            self.loop.join(_CLOSE_SECONDS)

    def _close(self) -> None:
        self.consumers.close()
        for link in self._links:
            link.close(self._on_link_closed)

    def _on_link_closed(self) -> None:
        self._open_links -= 1
        if self._open_links == 0:
            self._finish()

    def _abort(self) -> None:
        for link in self._links:
            link.abort()
        # pika closes the sockets in the next turn of the loop.
        self.loop.later(_ABORT_SECONDS, self._finish)

    def _finish(self) -> None:
        self.publisher.fail_rest()
        self.utility.fail_rest()
        self.getters.disconnected()
        self.loop.finish()

    def _on_crash(self) -> None:
        for link in self._links:
            link.drop()
