"""Second hand-outs of what this worker holds or has finished: taken here, so that nothing runs twice in one place.

The broker hands a message out again when a connection was lost, and a message whose confirm was lost may be in a queue
twice. Either way it is the same job with the same attempt and round.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from warren.envelope import Envelope, Message
from warren.transport import Delivery
from warren_worker.job import Run

REMEMBERED: Final = 10_000
"""Finished attempts that are remembered, the newest."""

Key: TypeAlias = tuple[str | None, int, int]


class Copies:
    """The attempts at this worker: those under way with their runs, and the last that are finished.

    Args:
        on_forgotten: Told the job, attempt and round of what is remembered no longer.
    """

    def __init__(self, on_forgotten: Callable[[str, int, int], None]) -> None:
        self._on_forgotten = on_forgotten
        self._lock = threading.Lock()
        self._runs: dict[Key, Run] = {}
        self._waiting: dict[Key, list[Delivery]] = {}
        self._finished: OrderedDict[Key, None] = OrderedDict()

    def add(self, run: Run) -> None:
        """Know a run from now on, until it is `settled`."""
        with self._lock:
            self._runs[_key_of(run.job.envelope)] = run

    def take(self, delivery: Delivery) -> bool:
        """Take care of a delivery if its attempt is known here.

        One that is finished is acked. One under way goes on with the new delivery, if its own is gone; otherwise this
        is a copy, and shares its fate.
        """
        key = _key_in(delivery.message)
        with self._lock:
            run = self._runs.get(key)
            finished = run is None and key in self._finished
            if run is not None and not run.adopt(delivery):
                self._waiting.setdefault(key, []).append(delivery)
        if finished:
            delivery.ack()
        return finished or run is not None

    def settled(self, run: Run, *, finished: bool) -> None:
        """Say what came of a run.

        Args:
            run: The run.
            finished: What follows it is safe with the broker; otherwise its message is to be handed out again.
        """
        key = _key_of(run.job.envelope)
        with self._lock:
            self._runs.pop(key, None)
            copies = self._waiting.pop(key, [])
        if finished:
            self._remember(key)
        for copy in copies:
            if finished:
                copy.ack()
            else:
                copy.nack()

    def ended_unrun(self, message: Message) -> None:
        """Remember a job that ended without a run, so that another copy does not end it again."""
        self._remember(_key_in(message))

    def _remember(self, key: Key) -> None:
        with self._lock:
            self._finished[key] = None
            forgotten = self._finished.popitem(last=False)[0] if len(self._finished) > REMEMBERED else None
        if forgotten is not None and forgotten[0] is not None:
            self._on_forgotten(forgotten[0], *forgotten[1:])


def _key_of(envelope: Envelope) -> Key:
    return envelope.id, envelope.attempt, envelope.round


def _key_in(message: Message) -> Key:
    """Read the key of a message that may be anything; what is no job has none that a run could have."""
    return message.message_id, _integer(message, "warren-attempt", 1), _integer(message, "warren-round", 0)


def _integer(message: Message, name: str, missing: int) -> int:
    value = message.headers.get(name)
    return int(value) if isinstance(value, int) else missing
