"""Orders from the control stream: replayed when the worker starts, followed while it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID, uuid4

from warren.control import (
    CancelJobs,
    CancelMatching,
    Hello,
    Limits,
    Order,
    Pause,
    Resume,
    Started,
    decode_order,
    encode_order,
)
from warren.envelope import Envelope
from warren.errors import EnvelopeError
from warren.topology import CONTROL
from warren.transport import Delivery, Subscription, Transport, control_publication
from warren_worker.outbox import Outbox

logger = logging.getLogger(__name__)

_PREFETCH: Final = 500


class Orders:
    """What all orders so far come to. Not for several threads at a time: `Control` guards it."""

    def __init__(self) -> None:
        self.paused: set[str] = set()
        self.limits: dict[str, Limits] = {}
        # Ids as integers: a third of the memory of text, and there may be a million.
        self._cancelled: set[int] = set()
        self._matching: dict[tuple[str | None, str | None, bool], CancelMatching] = {}
        self._starts: dict[tuple[int, int], int] = {}

    def take(self, order: Order) -> None:
        """Add an order; one that was taken before changes nothing."""
        match order:
            case CancelJobs():
                self._cancelled.update(UUID(job).int for job in order.jobs)
            case CancelMatching():
                key = (order.queue, order.task, order.waiting_only)
                known = self._matching.get(key)
                if known is None or known.before_ms < order.before_ms:
                    self._matching[key] = order
            case Pause():
                self.paused.add(order.queue)
            case Resume():
                self.paused.discard(order.queue)
            case Limits():
                known_limits = self.limits.get(order.queue)
                if known_limits is None or known_limits.generation <= order.generation:
                    self.limits[order.queue] = order
            case Started():
                at = (UUID(order.job).int, order.attempt)
                self._starts[at] = max(self._starts.get(at, 0), order.run)
            case _:
                return

    def cancels(self, job: Envelope, *, running: bool = False) -> bool:
        """Whether a job is cancelled.

        Args:
            job: The job.
            running: It runs already; some orders are for waiting jobs only.
        """
        if UUID(job.id).int in self._cancelled:
            return True
        return any(
            job.enqueued_ms <= order.before_ms
            and order.queue in (None, job.queue)
            and order.task in (None, job.task)
            and not (running and order.waiting_only)
            for order in self._matching.values()
        )

    def starts(self, job: Envelope) -> int:
        """Return how many runs of this envelope were announced: workers that died may have died of them."""
        return self._starts.get((UUID(job.id).int, job.attempt), 0)

    def forget(self, job: str, attempt: int) -> None:
        """Forget what is known of a job that has ended here.

        Args:
            job: Its id.
            attempt: The attempt in its envelope.
        """
        number = UUID(job).int
        self._cancelled.discard(number)
        self._starts.pop((number, attempt), None)


class Control:
    """Reads the control stream.

    Args:
        transport: Where from.
        outbox: Brings our own orders to the broker for certain.
        on_order: Told of each order after it was taken, on the transport's thread.
        on_synced: Called once, when all that was ordered before the start is known.
    """

    def __init__(
        self,
        transport: Transport,
        outbox: Outbox,
        on_order: Callable[[Order], None],
        on_synced: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._outbox = outbox
        self._on_order = on_order
        self._on_synced = on_synced
        self._lock = threading.Lock()
        self._orders = Orders()
        self._nonce = uuid4().hex
        self._began = 0.0
        self._synced = False
        self._subscription: Subscription | None = None

    @property
    def synced(self) -> bool:
        """Whether all that was ordered before the start is known."""
        return self._synced

    def start(self) -> None:
        """Begin to read, and mark where the replay ends. Idempotent."""
        if self._subscription is not None:
            return
        self._began = time.monotonic()
        self._subscription = self._transport.consume(CONTROL, self._on_delivery, prefetch=_PREFETCH)
        self._outbox.send(control_publication(encode_order(Hello(nonce=self._nonce))))

    def stop(self) -> None:
        """Read no more. Idempotent, safe before `start`."""
        if self._subscription is not None:
            self._subscription.stop()

    def cancels(self, job: Envelope, *, running: bool = False) -> bool:
        """Whether a job is cancelled, as far as is known here."""
        with self._lock:
            return self._orders.cancels(job, running=running)

    def starts(self, job: Envelope) -> int:
        """Return how many runs of this envelope were announced by workers that took it from one that died."""
        with self._lock:
            return self._orders.starts(job)

    def forget(self, job: Envelope) -> None:
        """Forget what is known of a job that has ended here."""
        self.forget_id(job.id, job.attempt)

    def forget_id(self, job: str, attempt: int) -> None:
        """Forget what is known of a job whose envelope is no longer at hand."""
        with self._lock:
            self._orders.forget(job, attempt)

    def paused(self, queue: str) -> bool:
        """Whether no more jobs of a queue may start."""
        with self._lock:
            return queue in self._orders.paused

    def limits(self, queue: str) -> Limits:
        """Return how a queue is worked on."""
        return self.ordered_limits(queue) or Limits(queue=queue)

    def ordered_limits(self, queue: str) -> Limits | None:
        """Return how a queue is worked on, or None when nobody ordered anything."""
        with self._lock:
            return self._orders.limits.get(queue)

    def _on_delivery(self, delivery: Delivery) -> None:
        delivery.ack()
        try:
            order = decode_order(delivery.message)
        except EnvelopeError as error:
            logger.warning("an order cannot be read: %s", error, extra={"event": "order_unreadable"})
            return
        if order is None:
            return
        with self._lock:
            self._orders.take(order)
        if isinstance(order, Hello):
            self._on_hello(order)
        else:
            self._on_order(order)

    def _on_hello(self, hello: Hello) -> None:
        if hello.nonce != self._nonce or self._synced:
            return
        self._synced = True
        logger.info(
            "the control stream is replayed, in %.1f s",
            time.monotonic() - self._began,
            extra={"event": "control_synced"},
        )
        self._on_synced()
