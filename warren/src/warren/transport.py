"""The port between Warren and a message broker.

Two adapters implement it: `warren.amqp` on RabbitMQ and `warren.memory` for tests; both pass one conformance suite
(`tests/conformance`).

Threads: every method may be called from any thread. Callbacks run on the transport's own thread and must return at
once; work belongs on the caller's threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from warren.envelope import Envelope, Message, encode
from warren.topology import CONTROL, DEAD, EVENTS, Topology, route


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message and where it goes."""

    exchange: str
    routing_key: str
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """What the broker says of a queue.

    Attributes:
        ready: Messages waiting for a consumer.
        consumers: Consumers attached.
    """

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStatus:
    """How a transport is doing.

    Attributes:
        connected: Publishing is possible now, alarms apart.
        blocked: The broker has a memory or disk alarm and takes no publishes.
        unconfirmed: Messages accepted here whose confirm has not come yet.
    """

    connected: bool
    blocked: bool
    unconfirmed: int


class Delivery(Protocol):
    """One hand-out of a message by the broker.

    Settle it once; later calls, and calls after the connection that brought it is gone, do nothing: the broker hands
    such a message out again by itself.
    """

    @property
    def message(self) -> Message:
        """The message, with all its headers."""

    @property
    def queue(self) -> str:
        """The broker's name of the queue it came from."""

    @property
    def redelivered(self) -> bool:
        """Whether the broker handed it out before."""

    @property
    def delivery_count(self) -> int:
        """How many earlier hand-outs the broker counts as failed; before RabbitMQ 4.3 it counts every return."""

    @property
    def alive(self) -> bool:
        """Whether settling still reaches the broker."""

    def ack(self) -> None:
        """Settle: the job is taken care of. Acks are sent in batches, within milliseconds."""

    def nack(self) -> None:
        """Give back, unharmed: to be handed out again, not counted as a failure by RabbitMQ 4.3 and newer."""

    def reject(self) -> None:
        """Give back after a failed try: handed out again and counted."""


OnDelivery: TypeAlias = Callable[[Delivery], None]


class Subscription(Protocol):
    """A wish to consume a queue, kept through reconnects until stopped."""

    @property
    def active(self) -> bool:
        """Whether the broker is handing out messages to it now."""

    def stop(self) -> Future[None]:
        """Ask for no more deliveries; done when none will come. Deliveries at hand can still be settled."""


class Transport(Protocol):
    """A connection to a broker that mends itself."""

    def start(self) -> None:
        """Begin connecting, in the background. Idempotent."""

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Flush settles, wait for confirms up to the timeout, disconnect. Idempotent, safe before `start`."""

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Wait until publishing is possible; False when the time is up."""

    @property
    def status(self) -> TransportStatus:
        """How the transport is doing now."""

    def publish(self, publication: Publication, *, wait_seconds: float = 0.0) -> Future[None]:
        """Send a persistent message, mandatory and confirmed.

        Args:
            publication: What to send, and where to.
            wait_seconds: How long to wait for room in the window or for a connection before giving up.

        Returns:
            A future that is done when the broker has the message safe. It fails with `Unroutable` (no queue bound),
            `QueueFull` (refused), `Unavailable` (the connection went before it was written) or `OutcomeUnknown`.

        Raises:
            Unavailable: No connection, and certainly not sent.
            Blocked: The broker takes no publishes; certainly not sent.
            WindowFull: Too many messages unconfirmed; certainly not sent.
        """

    def consume(
        self,
        queue: str,
        on_delivery: OnDelivery,
        *,
        prefetch: int,
        consumer_timeout_seconds: float | None = None,
    ) -> Subscription:
        """Consume a queue, by its broker name, and keep on through every reconnect.

        Args:
            queue: The broker's name of the queue.
            on_delivery: Called on the transport's thread for each delivery.
            prefetch: Most deliveries unsettled at a time.
            consumer_timeout_seconds: How long one delivery may stay unsettled (brokers before 3.12 ignore it).
        """

    def get(self, queue: str) -> Future[Delivery | None]:
        """Take one message from a queue, by its broker name, or None when there is none now.

        It is settled like any other; unsettled, it is out of everybody's reach until the connection is gone. The future
        fails with `TopologyError` when there is no such queue, and with `Unavailable` without a connection.
        """

    def declare(self, topology: Topology) -> Future[None]:
        """Declare exchanges, queues and bindings; policies are not a transport's business. Idempotent.

        The future fails with `TopologyError` when something exists otherwise than asked for, and with `Unavailable`
        without a connection.
        """

    def depth(self, queue: str) -> Future[QueueDepth]:
        """Ask how deep a queue is, by its broker name; fails with `TopologyError` when there is none."""


def job_publication(envelope: Envelope, delay_seconds: int = 0) -> Publication:
    """Address a job to its queue, now or after a delay in whole seconds."""
    exchange, routing_key = route(envelope.queue, delay_seconds)
    return Publication(exchange=exchange, routing_key=routing_key, message=encode(envelope))


def dead_publication(message: Message) -> Publication:
    """Address a message to the dead letters."""
    return Publication(exchange=DEAD, routing_key="", message=message)


def event_publication(message: Message) -> Publication:
    """Address a batch of events to the store."""
    return Publication(exchange=EVENTS, routing_key="", message=message)


def control_publication(message: Message) -> Publication:
    """Address an order to every worker."""
    return Publication(exchange=CONTROL, routing_key="", message=message)
