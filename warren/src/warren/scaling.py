"""How many workers a queue should have. Pure; every scaler asks here."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of a fleet.

    Attributes:
        minimum: Fewest workers, 0 or more.
        maximum: Most workers.
        jobs_per_worker: Ready jobs one worker is expected to take on, 1 or more.
    """

    minimum: int = 0
    maximum: int = 8
    jobs_per_worker: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum:
            raise ValueError(f"min {self.minimum} and max {self.maximum}: must hold 0 <= min <= max")
        if self.jobs_per_worker < 1:
            raise ValueError(f"jobs per worker is {self.jobs_per_worker}: must be 1 or more")


def desired_workers(*, ready: int | None, unacked: int | None, current: int, bounds: Bounds) -> int:
    """Decide the size of a fleet from queue depth.

    Missing data holds the fleet as it is. Unsettled jobs count as work, so the last busy worker is never let go.

    Args:
        ready: Jobs waiting, or None when the broker could not be asked.
        unacked: Jobs handed out and not settled, or None.
        current: Workers now.
        bounds: Limits of the fleet.
    """
    if ready is None or unacked is None:
        return min(max(current, bounds.minimum), bounds.maximum)
    wanted = math.ceil((ready + unacked) / bounds.jobs_per_worker)
    return min(max(wanted, bounds.minimum), bounds.maximum)
