"""Jobs that ended here and whose message may come once more, because the ack did not get through."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from warren.events import Event

REMEMBERED: Final = 10_000
"""More than the broker hands out to one worker without its acks, and so than can come once more."""


class Finished:
    """Remembers the latest jobs.

    Args:
        on_forgotten: Told the id and the attempt of a job that is remembered no longer.
    """

    def __init__(self, on_forgotten: Callable[[str, int], None]) -> None:
        self._on_forgotten = on_forgotten
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def add(self, event: Event) -> None:
        """Remember a job by the event of its end."""
        with self._lock:
            self._ended[event.job] = (event.round, event.attempt)
            self._ended.move_to_end(event.job)
            forgotten = self._ended.popitem(last=False) if len(self._ended) > REMEMBERED else None
        if forgotten is not None:
            job, (_round, attempt) = forgotten
            self._on_forgotten(job, attempt)

    def knows(self, job: str, round: int) -> bool:  # noqa: A002 - the field's name
        """Whether a job has ended here, in this round or a later one."""
        with self._lock:
            ended = self._ended.get(job)
        return ended is not None and ended[0] >= round
