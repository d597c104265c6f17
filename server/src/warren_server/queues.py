"""What the broker says of the job queues: whether they exist, and how deep they are."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Final

from warren.errors import TopologyError, TransportError, Unroutable
from warren.topology import queue_name
from warren.transport import Transport

logger = logging.getLogger(__name__)

_REMEMBER_SECONDS: Final = 30.0
_DEPTHS_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 3.0
_MAX_REMEMBERED: Final = 10_000
_PREFIX: Final = queue_name("x").removesuffix("x")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """A queue as the broker sees it; None where it does not say.

    Attributes:
        ready: Jobs waiting for a worker.
        unacked: Jobs handed out and not settled.
        consumers: Workers attached.
    """

    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None


ReadDepths = Callable[[], Mapping[str, QueueState]]


class Queues:
    """Asks the broker about queues, and remembers the answers for a moment.

    Args:
        transport: The connection to the broker.
        known: Queues that are there because Warren put them there.
        read_depths: Reads the state of all queues, by their broker names, from the management API; None without one.
    """

    def __init__(self, transport: Transport, known: list[str], read_depths: ReadDepths | None = None) -> None:
        self._transport = transport
        self._known = frozenset(known)
        self._read_depths = read_depths
        self._lock = threading.Lock()
        self._seen: dict[str, float] = {}
        self._depths: tuple[float, dict[str, QueueState]] = (float("-inf"), {})
        self._all: Mapping[str, QueueState] | None = None

    def check(self, queue: str) -> None:
        """Make sure a queue exists: a delayed job finds out only when it is due, and then nobody is listening.

        Raises:
            Unroutable: It does not.
            TransportError: The broker does not say.
        """
        now = time.monotonic()
        if queue in self._known or self._seen.get(queue, float("-inf")) > now - _REMEMBER_SECONDS:
            return
        if self._ask(queue) is None:
            raise Unroutable(f"queue {queue!r:.200} does not exist; GET /v1/queues lists those that do")
        with self._lock:
            if len(self._seen) >= _MAX_REMEMBERED:
                self._seen.clear()
            self._seen[queue] = now

    def states(self) -> dict[str, QueueState]:
        """Return the state of every job queue; those the broker says nothing of have none."""
        with self._lock:
            read_at, depths = self._depths
            if read_at < time.monotonic() - _DEPTHS_SECONDS:
                depths = self._read()
                self._depths = (time.monotonic(), depths)
        return {**dict.fromkeys(sorted(self._known), QueueState()), **depths}

    @property
    def age_seconds(self) -> float:
        """How long ago the broker was asked for what `states` and `state` tell."""
        with self._lock:
            return time.monotonic() - self._depths[0]

    def state(self, queue: str) -> QueueState | None:
        """Return the state of one queue, or None when it does not exist."""
        states = self.states()
        if queue in states and states[queue].ready is not None:
            return states[queue]
        try:
            return self._ask(queue)
        except TransportError:
            return states.get(queue)

    def all_states(self) -> Mapping[str, QueueState] | None:
        """Return the state of every queue there is, by the broker's names; None when the broker does not say."""
        self.states()
        with self._lock:
            return self._all

    def _read(self) -> dict[str, QueueState]:
        self._all = None
        if self._read_depths is not None:
            try:
                found = self._read_depths()
            except TransportError as error:
                logger.warning("cannot read queue depths: %s", error, extra={"event": "depths_unavailable"})
            else:
                self._all = found
                return {name.removeprefix(_PREFIX): state for name, state in found.items() if name.startswith(_PREFIX)}
        return self._ask_known()

    def _ask_known(self) -> dict[str, QueueState]:
        states = {}
        for queue in sorted(self._known):
            try:
                states[queue] = self._ask(queue) or QueueState()
            except TransportError:
                break
        return states

    def _ask(self, queue: str) -> QueueState | None:
        try:
            depth = self._transport.depth(queue_name(queue)).result(_ANSWER_SECONDS)
        except TopologyError:
            return None
        except FutureTimeout:
            raise TransportError(f"the broker did not answer within {_ANSWER_SECONDS:g} s") from None
        return QueueState(ready=depth.ready, consumers=depth.consumers)
