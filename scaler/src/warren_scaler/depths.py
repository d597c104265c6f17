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
        """Return what is in the queues, or None when the broker does not say; logged once per outage."""
        try:
            depths = self._management.queue_depths()
        except TransportError as error:
            if not self._silent:
                logger.warning("depths unknown, the fleet is held: %s", error, extra={"event": "depths_unknown"})
            self._silent = True
            return None
        self._silent = False
        jobs = [depth for name, depth in depths.items() if name.startswith(_PREFIX)]
        return Work(ready=sum(depth.ready for depth in jobs), unacked=sum(depth.unacked for depth in jobs))
