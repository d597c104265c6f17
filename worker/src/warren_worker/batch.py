"""Events on their way to the store: gathered for a moment, then sent as one message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Protocol

from warren.events import Event, State, encode_batch
from warren.transport import Publication, event_publication
from warren_worker.timers import Timers

FLUSH_SECONDS: Final = 0.01
FLUSH_EVENTS: Final = 100


class Sender(Protocol):
    """Whoever brings a message to the broker for certain."""

    def send(self, publication: Publication) -> Future[None]:
        """Send until confirmed."""


class Batcher:
    """Gathers events for at most 10 ms or 100 of them, and sends each batch until it is confirmed.

    Args:
        timers: Who wakes us for a flush.
        sender: Who sends.
    """

    def __init__(self, timers: Timers, sender: Sender) -> None:
        self._timers = timers
        self._sender = sender
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._future: Future[None] = Future()

    def tell(self, events: Sequence[Event]) -> Future[None]:
        """Add events to the batch at hand; the future is done when the broker has it safe."""
        with self._lock:
            future = self._future
            first = not self._events
            self._events.extend(events)
            full = len(self._events) >= FLUSH_EVENTS
        if full:
            self.flush()
        elif first:
            self._timers.after(FLUSH_SECONDS, self.flush)
        return future

    def flush(self) -> None:
        """Send what is gathered, now."""
        with self._lock:
            events, future = self._events, self._future
            self._events, self._future = [], Future()
        if not events:
            # Nobody has seen this future: it is given out with events only.
            return
        sent = self._sender.send(event_publication(encode_batch(without_stale(events))))
        sent.add_done_callback(_passing_on(future))


def without_stale(events: Sequence[Event]) -> list[Event]:
    """Drop what a later event of the same job says better: `running` before the end of that attempt."""
    ended = {(event.job, event.attempt) for event in events if event.state is not State.RUNNING}
    kept: list[Event] = []
    for event in events:
        if event.state is State.RUNNING and (event.job, event.attempt) in ended:
            continue
        kept.append(event)
    return kept


def _passing_on(future: Future[None]) -> Callable[[Future[None]], None]:
    def pass_on(sent: Future[None]) -> None:
        error = sent.exception()
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    return pass_on
