"""The projection: events and dead letters, from the broker into the store. Commit first, then ack."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from warren import metrics
from warren.errors import EnvelopeError
from warren.events import Event, decode_batch
from warren.topology import DEAD, EVENTS
from warren.transport import Delivery, Subscription, Transport
from warren_server.dead import dead_event, dead_row, rejected_row
from warren_server.errors import StoreDown, StoreError
from warren_server.store.dead_letters import DeadLetterStore
from warren_server.store.fold import Row
from warren_server.store.jobs import JobStore

logger = logging.getLogger(__name__)

_PREFETCH: Final = 300
_BATCH: Final = 200
_LINGER_SECONDS: Final = 0.01
_RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What a delivery asks of the store: events to project and a dead letter to keep, either or both."""

    delivery: Delivery
    events: tuple[Event, ...] = ()
    letter: Row | None = None


class Projection:
    """Consumes `warren.events` and `warren.dead`; any number of processes may do it at a time.

    Args:
        transport: The connection to the broker.
        jobs: Where events go.
        letters: Where dead letters go.
    """

    def __init__(self, transport: Transport, jobs: JobStore, letters: DeadLetterStore) -> None:
        self._transport = transport
        self._jobs = jobs
        self._letters = letters
        self._inbox: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._subscriptions: list[Subscription] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin consuming. Idempotent."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="warren-projection", daemon=True)
        self._thread.start()
        self._subscriptions = [
            self._transport.consume(name, self._inbox.put, prefetch=_PREFETCH) for name in (EVENTS, DEAD)
        ]

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop consuming and finish the batch at hand; the rest goes back to the broker. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        for subscription in self._subscriptions:
            subscription.stop()
        self._subscriptions = []
        self._stopping.set()
        self._inbox.put(None)
        thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            batch = self._collect()
            if batch:
                self._project(batch)
        while (left := self._take(0)) is not None:
            left.nack()

    def _project(self, batch: list[Delivery]) -> None:
        try:
            self._settle([read(delivery) for delivery in batch])
        except Exception:
            # A mistake of ours must not end the thread: the broker keeps the messages until a version can store them.
            logger.exception("could not project %d messages", len(batch), extra={"event": "projection_failed"})
            self._stopping.wait(_RETRY_SECONDS[-1])
            for delivery in batch:
                delivery.nack()

    def _collect(self) -> list[Delivery]:
        first = self._take(None)
        if first is None:
            return []
        batch = [first]
        deadline = time.monotonic() + _LINGER_SECONDS
        while len(batch) < _BATCH and not self._stopping.is_set():
            more = self._take(max(deadline - time.monotonic(), 0))
            if more is None:
                break
            batch.append(more)
        return batch

    def _take(self, timeout_seconds: float | None) -> Delivery | None:
        try:
            return self._inbox.get(timeout=timeout_seconds) if timeout_seconds != 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _settle(self, readings: list[_Reading]) -> None:
        """Store a batch, however long the store is away, and ack it."""
        failures = 0
        while readings:
            try:
                self._store(readings)
                break
            except StoreDown as error:
                if failures == 0:
                    logger.warning("cannot store events: %s; trying on", error, extra={"event": "store_down"})
                pause = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
                if self._stopping.wait(pause):
                    for reading in readings:
                        reading.delivery.nack()
                    return
                # What a lost connection took back will be handed out again.
                readings = [reading for reading in readings if reading.delivery.alive]
        for reading in readings:
            reading.delivery.ack()

    def _store(self, readings: Sequence[_Reading]) -> None:
        try:
            self._write(readings)
        except StoreDown:
            raise
        except Exception as error:
            if len(readings) > 1:
                # One of them is to blame: alone, each gets its own verdict.
                for reading in readings:
                    self._store([reading])
                return
            logger.exception("cannot store a message", extra={"event": "event_refused"})
            delivery = readings[0].delivery
            self._letters.add([rejected_row(delivery.message, delivery.queue, f"the store refuses it: {error}")])

    def _write(self, readings: Sequence[_Reading]) -> None:
        events = [event for reading in readings for event in reading.events]
        letters = [reading.letter for reading in readings if reading.letter is not None]
        if letters:
            self._letters.add(letters)
        if events:
            self._jobs.project(events)
            metrics.counter("warren_events_projected_total").inc(len(events))
            newest_ms = max(event.at_ms for event in events)
            metrics.gauge("warren_events_lag_seconds", mode="livemax").set(max(time.time() - newest_ms / 1000, 0))


def read(delivery: Delivery) -> _Reading:
    """Read a delivery of either queue; what cannot be read is kept as a dead letter."""
    message = delivery.message
    try:
        if delivery.queue == DEAD:
            event = dead_event(message)
            return _Reading(delivery=delivery, events=() if event is None else (event,), letter=dead_row(message))
        return _Reading(delivery=delivery, events=tuple(decode_batch(message)))
    except (EnvelopeError, StoreError, ValueError, TypeError) as error:
        logger.warning("cannot read a message of %s: %s", delivery.queue, error, extra={"event": "event_undecodable"})
        return _Reading(delivery=delivery, letter=rejected_row(message, delivery.queue, f"cannot be read: {error}"))
