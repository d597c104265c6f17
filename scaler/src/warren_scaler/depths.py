"""How much work the broker holds."""

from __future__ import annotations

import logging

from warren.amqp.management import Management
from warren.errors import TransportError
from warren.topology import DEFAULT_QUEUE, queue_name
from warren_scaler.decision import Work

logger = logging.getLogger(__name__)

_PREFIX = queue_name(DEFAULT_QUEUE).removesuffix(DEFAULT_QUEUE)


class Depths:
    """Looks at all job queues of a virtual host.

    Args:
        management: The broker's management API.
    """

    def __init__(self, management: Management) -> None:
        self._management = management
        self._silent = False

    def look(self) -> Work | None:
        """Return what is in all job queues together, or None when the broker does not say."""
        depths = self.each()
        if depths is None:
            return None
        jobs = [work for name, work in depths.items() if name.startswith(_PREFIX)]
        return Work(ready=sum(work.ready for work in jobs), unacked=sum(work.unacked for work in jobs))

    def each(self) -> dict[str, Work] | None:
        """Return what is in each queue, by the broker's names, or None when it does not say; logged once per outage.

        A queue that the broker has not counted yet is left out.
        """
        try:
            depths = self._management.queue_depths()
        except TransportError as error:
            if not self._silent:
                logger.warning("depths unknown, the fleet is held: %s", error, extra={"event": "depths_unknown"})
            self._silent = True
            return None
        self._silent = False
        return {name: Work(ready=depth.ready, unacked=depth.unacked) for name, depth in depths.items() if depth.counted}
