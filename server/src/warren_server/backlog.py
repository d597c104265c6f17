"""Watching what waits outside of job queues: on the delay ladder, and where nothing should be."""

from __future__ import annotations

import logging
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final

from warren import delay, metrics
from warren.errors import TransportError
from warren.topology import UNROUTABLE, level_name
from warren.transport import Transport

logger = logging.getLogger(__name__)

_ANSWER_SECONDS: Final = 5.0


class Backlog:
    """Reads depths into metrics, and says so when jobs have lost their queue.

    Args:
        transport: Tells depths.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._warned = False

    def look(self) -> None:
        """Look once.

        Raises:
            TransportError: The broker does not say.
        """
        unroutable = self._depth(UNROUTABLE)
        metrics.gauge("warren_unroutable_jobs", mode="livemostrecent").set(unroutable)
        delayed = sum(self._depth(level_name(level)) for level in range(delay.LEVELS))
        metrics.gauge("warren_delayed_jobs", mode="livemostrecent").set(delayed)
        if unroutable and not self._warned:
            logger.warning(
                "%d jobs came due for a queue that does not exist; `warren topology repair` brings them back",
                unroutable,
                extra={"event": "jobs_unroutable", "jobs": unroutable},
            )
        self._warned = unroutable > 0

    def _depth(self, queue: str) -> int:
        try:
            return self._transport.depth(queue).result(_ANSWER_SECONDS).ready
        except FutureTimeout:
            raise TransportError(f"the broker did not tell the depth of {queue} in {_ANSWER_SECONDS:g} s") from None
