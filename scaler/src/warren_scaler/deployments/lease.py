"""Leader election over a Lease: of several scalers one acts, and another takes its place when it falls silent.

No clock is compared with another's. A follower takes the lease when it has itself seen no change of it for as long as
the lease is given; a leader that could not renew holds itself to be none well before that (Kubernetes, "Leases";
client-go, `tools/leaderelection`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from warren.errors import KubernetesError

if TYPE_CHECKING:
    from warren_scaler.deployments.cluster import Leases

logger = logging.getLogger(__name__)

_RENEW_SHARE: Final = 0.7
"""Of the lease's time, how long a leader trusts its last renewal. The rest bounds how unlike two clocks may run."""
_TURN_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """What a lease says.

    Attributes:
        holder: Who leads; empty when it was given back.
        seconds: How long it is given for.
        transitions: How often the leader changed.
    """

    holder: str
    seconds: int
    transitions: int = 0


class Election:
    """One candidate.

    Args:
        leases: The lease.
        me: Name of this candidate, of this process only.
        seconds: How long the lease is given for.
        clock: Seconds that never go back; only differences count.
    """

    def __init__(self, leases: Leases, me: str, seconds: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._leases = leases
        self._me = me
        self._seconds = seconds
        self._clock = clock
        self._seen: str | None = None
        self._seen_at = 0.0
        self._renewed_at: float | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def leading(self) -> bool:
        """Whether this candidate leads at this moment; to be asked before each act."""
        renewed_at = self._renewed_at
        return renewed_at is not None and self._clock() - renewed_at < self._seconds * _RENEW_SHARE

    def start(self) -> None:
        """Stand for election, in a thread of its own. Idempotent."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="warren-election", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Stand no longer, and give the lease back if it is ours. Idempotent, safe before `start`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join(timeout_seconds)
            self._give_back()

    def turn(self) -> None:
        """Renew the lease, or take it if it is free.

        Raises:
            KubernetesError: The lease could not be read or written; `Conflict` when another was faster.
        """
        # Before the request: an answer that comes late must not make the lease last longer here than with the others.
        begun = self._clock()
        found = self._leases.read()
        if found is None:
            self._leases.create(LeaseRecord(holder=self._me, seconds=self._seconds))
            self._renewed_at = begun
            return
        record, version = found
        if record.holder == self._me:
            self._leases.replace(replace(record, seconds=self._seconds), version)
            self._renewed_at = begun
            return
        self._renewed_at = None
        if version != self._seen:
            self._seen, self._seen_at = version, self._clock()
        if record.holder and self._clock() - self._seen_at < record.seconds:
            return
        taken = LeaseRecord(holder=self._me, seconds=self._seconds, transitions=record.transitions + 1)
        self._leases.replace(taken, version)
        self._renewed_at = begun

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            led = self.leading
            try:
                self.turn()
                failing = False
            except KubernetesError as error:
                if not failing:
                    logger.warning("cannot renew or take the lease: %s", error, extra={"event": "lease_failed"})
                failing = True
            if led != self.leading:
                word = "leading" if self.leading else "not leading any more"
                logger.info("%s as %s", word, self._me, extra={"event": "election", "leading": self.leading})
            self._stopping.wait(self._seconds * _TURN_SHARE)

    def _give_back(self) -> None:
        self._renewed_at = None
        try:
            found = self._leases.read()
            if found and found[0].holder == self._me:
                self._leases.replace(replace(found[0], holder=""), found[1])
        except KubernetesError as error:
            logger.info("the lease is left to run out: %s", error, extra={"event": "lease_left"})
