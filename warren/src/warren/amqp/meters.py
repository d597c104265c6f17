"""What the transport counts, kept cheap: label children are looked up once, confirms are counted per frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, Protocol

from warren.metrics import counter, gauge, histogram

Result = Literal["confirmed", "unroutable", "refused", "unknown", "unavailable"]
_RESULTS: tuple[Result, ...] = ("confirmed", "unroutable", "refused", "unknown", "unavailable")


class _Started(Protocol):
    started: float


class PublishMeters:
    """Counters of one publisher. Made when the transport starts: in several processes they are files."""

    def __init__(self) -> None:
        publishes = counter("warren_publishes_total")
        self._results = {result: publishes.labels(result) for result in _RESULTS}
        self._seconds = histogram("warren_publish_seconds")
        self._connected = gauge("warren_broker_connected")
        self._blocked = gauge("warren_broker_blocked")
        self._lost = counter("warren_broker_reconnects_total")

    def count(self, result: Result) -> None:
        """Count one publish."""
        self._results[result].inc()

    def settled(self, publishes: Sequence[_Started], confirmed: int, refused: bool) -> None:
        """Count what one confirm frame settled."""
        if confirmed:
            self._results["confirmed"].inc(confirmed)
        if len(publishes) > confirmed:
            self._results["refused" if refused else "unroutable"].inc(len(publishes) - confirmed)
        now = time.perf_counter()
        for publish in publishes:
            self._seconds.observe(now - publish.started)

    def set_connected(self, connected: bool) -> None:
        """Say whether publishing is possible."""
        self._connected.set(connected)

    def set_blocked(self, blocked: bool) -> None:
        """Say whether an alarm blocks publishes."""
        self._blocked.set(blocked)

    def lost_connection(self) -> None:
        """Count a lost connection."""
        self._lost.inc()
