"""Whether the worker lives and whether it takes work: what the probes answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from warren.transport import Subscription, Transport
from warren_worker.timers import Timers

BEAT_SECONDS: Final = 1.0
DEAD_AFTER_SECONDS: Final = 60.0
UNREADY_AFTER_SECONDS: Final = 60.0
"""A shorter loss of the broker does not make a worker unready: all would be at once, and a restart mends nothing."""


@runtime_checkable
class Ageing(Protocol):
    """A transport that tells how long ago its I/O loop last turned."""

    @property
    def loop_age_seconds(self) -> float:
        """Seconds since the loop last turned."""


class Pulse:
    """Keeps the time of the loops' last turn and of the last consuming.

    Args:
        transport: Whose I/O loop is looked at, where it tells.
        timers: The worker's own loop: its beat is the other half of being alive.
    """

    def __init__(self, transport: Transport, timers: Timers) -> None:
        self._transport = transport
        self._timers = timers
        self._subscriptions: Sequence[Subscription] = ()
        self._beat_at = time.monotonic()
        self._consuming_at: float | None = None
        self._beating = False
        self._refusal: str | None = None
        self._draining = False

    def watch(self, subscriptions: Sequence[Subscription]) -> None:
        """Look at these subscriptions from now on, every second; none at all is well, if all queues are paused."""
        self._subscriptions = tuple(subscriptions)
        if not self._beating:
            self._beating = True
            self._beat()

    def drain(self, reason: str = "draining") -> None:
        """Be unready from now on."""
        self._draining = True
        self._refusal = reason

    def wind_down(self) -> None:
        """Take no more work, and stay ready while something runs: Kubernetes deletes unready pods before ready ones."""
        self._draining = True

    def undrain(self) -> None:
        """Be as ready again as the subscriptions are."""
        self._draining = False
        self._refusal = None

    @property
    def draining(self) -> bool:
        """Whether it was told to take no more work."""
        return self._draining

    def dead(self) -> str | None:
        """Return why the process should be restarted, or None; the broker is never the reason."""
        age = time.monotonic() - self._beat_at if self._beating else 0.0
        if isinstance(self._transport, Ageing):
            age = max(age, self._transport.loop_age_seconds)
        return f"an I/O loop has not turned for {age:.0f} s" if age > DEAD_AFTER_SECONDS else None

    def unready(self) -> str | None:
        """Return why no work is taken, or None."""
        if self._refusal is not None:
            return self._refusal
        if self._draining:
            # It consumes nothing because it was told so, and what it runs may take an hour.
            return None
        if self._consuming_at is None:
            return "not consuming yet"
        idle = time.monotonic() - self._consuming_at
        return f"not consuming for {idle:.0f} s" if idle > UNREADY_AFTER_SECONDS else None

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        if all(subscription.active for subscription in self._subscriptions):
            self._consuming_at = self._beat_at
        self._timers.after(BEAT_SECONDS, self._beat)
