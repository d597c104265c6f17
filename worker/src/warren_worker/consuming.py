"""Which queues are consumed: all of the worker's, but paused ones; none while it drains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from warren.transport import Subscription


class Consuming:
    """Keeps the subscriptions as they are wanted.

    Args:
        queues: The worker's queues.
        subscribe: Begins to consume one.
        paused: Whether a queue is paused.
        watch: Told of the subscriptions whenever they change.
    """

    def __init__(
        self,
        queues: Sequence[str],
        subscribe: Callable[[str], Subscription],
        paused: Callable[[str], bool],
        watch: Callable[[Sequence[Subscription]], None],
    ) -> None:
        self._queues = tuple(queues)
        self._subscribe = subscribe
        self._paused = paused
        self._watch = watch
        self._lock = threading.RLock()
        self._subscriptions: dict[str, Subscription] = {}
        self._open = False
        self._ended = False

    def open(self) -> None:
        """Consume what is not paused, from now on; not after `end`."""
        with self._lock:
            self._open = not self._ended
            self.refresh()

    def refresh(self) -> None:
        """Follow what is paused. Idempotent."""
        with self._lock:
            if self._open:
                self._bring_to({queue for queue in self._queues if not self._paused(queue)})

    def close(self) -> list[Future[None]]:
        """Consume nothing until opened again; the futures are done when nothing more will come."""
        with self._lock:
            self._open = False
            return self._bring_to(set())

    def end(self) -> list[Future[None]]:
        """Consume nothing for good."""
        with self._lock:
            self._ended = True
            return self.close()

    def takes(self, queue: str) -> bool:
        """Whether jobs of a queue are wanted; some come after they no longer are."""
        with self._lock:
            return queue in self._subscriptions

    def _bring_to(self, wanted: set[str]) -> list[Future[None]]:
        stopped = [self._subscriptions.pop(queue).stop() for queue in self._subscriptions.keys() - wanted]
        for queue in self._queues:
            if queue in wanted and queue not in self._subscriptions:
                self._subscriptions[queue] = self._subscribe(queue)
        if self._open:
            self._watch(tuple(self._subscriptions.values()))
        return stopped
