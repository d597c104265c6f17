"""What goes wrong inside the server."""

from __future__ import annotations

from warren.errors import WarrenError


class StoreError(WarrenError):
    """The store could not do what was asked."""


class StoreDown(StoreError):
    """The store cannot be reached, or takes too long."""


class StoreRefused(StoreError):
    """The store cannot hold this value, now or ever."""


class NotRedrivable(WarrenError):
    """The dead letter cannot go back to a queue: it is no job."""
