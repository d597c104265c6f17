"""What the control loop steers: a fleet of workers of some kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a fleet is.

    Attributes:
        active: Workers that take work.
        draining: Workers that finish what they have and then end.
    """

    active: int
    draining: int


class Fleet(Protocol):
    """Workers that can become more and fewer. No method waits for a worker."""

    def size(self) -> Size:
        """Count the workers, after forgetting those that ended."""
        ...

    def grow(self, count: int) -> int:
        """Start workers; returns how many were started, which may be fewer."""
        ...

    def drain(self, count: int) -> None:
        """Tell workers to finish what they run, take nothing new, and end."""
        ...
