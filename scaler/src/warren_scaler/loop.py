"""The control loop: look at the queues, decide, act; again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry

from warren.lifecycle import StopSignal
from warren.metrics import counter, gauge
from warren.pace import Pace, learn
from warren.scaling import Decision, Wish, decide
from warren_scaler.decision import Step, Work, observe, plan
from warren_scaler.fleet import Fleet, Member
from warren_scaler.settings import ScalerSettings

logger = logging.getLogger(__name__)

_STUCK_INTERVALS: Final = 30
LOCAL: Final = "local"
"""The worker set of processes, in metrics."""


class Loop:
    """Keeps a fleet at the size its work deserves.

    Args:
        fleet: The workers.
        look: Returns what is in the queues, or None when that cannot be known now.
        settings: Bounds and times.
        clock: Seconds that never go back, injected so tests can set them.
        registry: Where the metrics go.
    """

    def __init__(
        self,
        fleet: Fleet,
        look: Callable[[], Work | None],
        settings: ScalerSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._fleet = fleet
        self._look = look
        self._settings = settings
        self._clock = clock
        self._pace = Pace()
        self._concurrency = settings.jobs_per_worker
        self._memory: tuple[Wish, ...] = ()
        self._last_step: float = clock()
        self._workers = gauge("warren_scaler_workers", registry)
        self._decisions = counter("warren_scaler_decisions_total", registry)

    def step(self) -> Step:
        """Look, decide and act once."""
        work = self._look()
        now = self._clock()
        members = self._fleet.members()
        self._learn(members)
        seen = observe(work, members, self._pace.expected_seconds)
        decision = decide(seen, self._settings.policy(self._concurrency), now, self._memory)
        self._memory = decision.memory
        step = plan(decision, members)
        started = self._fleet.grow(step.grow) if step.grow else 0
        if step.drain:
            self._fleet.drain(step.drain)
        self._tell(step, decision, members, started)
        self._last_step = now
        return step

    def run(self, stop: StopSignal) -> None:
        """Step until told to stop."""
        while not stop.requested:
            self.step()
            stop.wait(self._settings.interval_seconds)

    def dead(self) -> str | None:
        """Say why the process should be restarted, or None. Never because of the broker."""
        age = self._clock() - self._last_step
        limit = max(60.0, _STUCK_INTERVALS * self._settings.interval_seconds)
        return f"the loop has not turned for {age:.0f} s" if age > limit else None

    def _learn(self, members: Sequence[Member]) -> None:
        """Learn how long jobs take and how many a worker runs at once; it is still known when there is none."""
        told = [member.status for member in members if member.status is not None]
        self._pace = learn(self._pace, told)
        if told:
            self._concurrency = max(status.concurrency for status in told)

    def _tell(self, step: Step, decision: Decision, before: Sequence[Member], started: int) -> None:
        draining = sum(member.draining for member in before) + len(step.drain)
        active = len(before) - draining + started
        self._decisions.labels(worker_set=LOCAL, reason=step.reason).inc()
        self._workers.labels(worker_set=LOCAL, state="desired").set(step.desired)
        self._workers.labels(worker_set=LOCAL, state="actual").set(active)
        self._workers.labels(worker_set=LOCAL, state="draining").set(draining)
        if started or step.drain:
            logger.info(
                "%s to %d workers: %s",
                step.reason,
                active,
                decision.target.explanation,
                extra={"event": "scaled", "desired": step.desired, "active": active, "reason": step.reason},
            )
