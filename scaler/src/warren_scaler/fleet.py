"""What the control loop steers: a fleet of workers of some kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from warren.status import WorkerStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A worker of a fleet.

    Attributes:
        name: What the fleet knows it by.
        draining: It was told to finish and end.
        status: What it tells of itself, or None when it does not: it starts, or is too busy to answer.
    """

    name: str
    draining: bool = False
    status: WorkerStatus | None = None

    @property
    def idle(self) -> bool:
        """Whether it is known to hold no job."""
        return self.status is not None and not self.status.held


class Fleet(Protocol):
    """Workers that can become more and fewer. No method waits for a worker to end."""

    def members(self) -> Sequence[Member]:
        """Tell the workers, oldest first, after forgetting those that ended."""
        ...

    def grow(self, count: int) -> int:
        """Start workers; returns how many were started, which may be fewer."""
        ...

    def drain(self, names: Collection[str]) -> None:
        """Tell workers to finish what they run, take nothing new, and end."""
        ...
