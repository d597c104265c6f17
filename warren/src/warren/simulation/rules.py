"""What sizes the fleet of a replay: Warren's scaler, or KEDA with the HPA behind it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from warren.scaling import Bounds, Observation, Policy, Wish, decide
from warren.simulation.world import Setup, Worker, World

_REMEMBERED: Final = 50


class Rule(Protocol):
    """Sizes a fleet.

    Attributes:
        name: What it is called.
        clings: Its workers give back what they hold only when they end.
    """

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def clings(self) -> bool:
        """Whether its workers, when terminated, give back what they hold only when they end."""
        ...

    def held(self, concurrency: int) -> int:
        """Return how many jobs a worker holds, running ones included."""
        ...

    def join(self, world: World) -> None:
        """Schedule what it does."""
        ...


def _default_held(concurrency: int) -> int:
    return concurrency + math.ceil(concurrency / 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warren:
    """The policy of `warren.scaling` with two-phase scale-in: drain the idlest, remove what has nothing left.

    Attributes:
        name: What it is called.
        interval_seconds: Time between two looks.
        stable_seconds: How long fewer workers must have been enough.
        clings: See `Rule`.
    """

    name: str = "warren scaler"
    interval_seconds: float = 2.0
    stable_seconds: float = 60.0
    clings: bool = False

    def held(self, concurrency: int) -> int:
        """Return a worker's default prefetch."""
        return _default_held(concurrency)

    def join(self, world: World) -> None:
        """Look every interval."""
        world.every(self.interval_seconds, _WarrenLoop(world, policy_of(world.setup, self.stable_seconds)).look)


def policy_of(setup: Setup, stable_seconds: float) -> Policy:
    """Return what Warren's scaler is told of a setup."""
    return Policy(
        bounds=Bounds(minimum=setup.minimum, maximum=setup.maximum),
        concurrency=setup.concurrency,
        slo_seconds=setup.slo_seconds,
        stable_seconds=stable_seconds,
    )


class _WarrenLoop:
    def __init__(self, world: World, policy: Policy) -> None:
        self._world = world
        self._policy = policy
        self._memory: tuple[Wish, ...] = ()

    def look(self) -> None:
        world = self._world
        for worker in world.staying:
            if worker.draining and not worker.held:
                world.terminate(worker)
        active = [worker for worker in world.staying if not worker.draining]
        draining = [worker for worker in world.staying if worker.draining]
        ready, unacked = world.counted
        runs = world.ended_runs[-_REMEMBERED:]
        seen = Observation(
            current=len(active),
            ready=ready,
            unacked=unacked,
            leaving_jobs=sum(worker.held for worker in draining),
            running=sum(len(worker.running) for worker in active),
            busy_workers=sum(bool(worker.held) for worker in active),
            expected_seconds=sum(runs) / len(runs) if runs else None,
        )
        decision = decide(seen, self._policy, world.now, self._memory)
        self._memory = decision.memory
        more = decision.workers - len(active)
        for worker in draining[: max(more, 0)]:
            world.undrain(worker)
        world.start(max(more - len(draining), 0))
        for worker in sorted(active, key=_idleness)[: max(-more, 0)]:
            world.drain(worker)


def _idleness(worker: Worker) -> tuple[int, float]:
    """Order workers: those with the least first, and of those with jobs the ones whose job began last."""
    return worker.held, -min(worker.running.values(), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keda:
    """KEDA's rabbitmq trigger with the HPA behind it, as reference/kubernetes.md section 1 has them from their sources.

    KEDA itself only wakes the fleet and puts it to sleep; in between the HPA decides. Neither can choose a victim.

    Attributes:
        name: What it is called.
        poll_seconds: KEDA's `pollingInterval`.
        cooldown_seconds: KEDA's `cooldownPeriod`: how long without work before the step to none.
        sync_seconds: The HPA's sync period.
        up_pods: Workers the HPA adds at most per 15 s, unless `up_percent` is more.
        up_percent: Likewise, percent of those there are.
        down_window_seconds: The HPA's stabilisation window for fewer.
        down_fraction: Part of the maximum that the HPA takes away at most per `down_period_seconds`.
        down_period_seconds: See there.
        tolerance: Difference that the HPA passes over.
        sees_unacked: The trigger counts what runs (http), or not (amqp).
        prefetch_factor: Jobs a worker holds for each that it runs; None for Warren's own default.
        clings: See `Rule`.
    """

    name: str = "KEDA default"
    poll_seconds: float = 30.0
    cooldown_seconds: float = 300.0
    sync_seconds: float = 15.0
    up_pods: int = 4
    up_percent: int = 100
    down_window_seconds: float = 300.0
    down_fraction: float = 1.0
    down_period_seconds: float = 15.0
    tolerance: float = 0.1
    sees_unacked: bool = True
    prefetch_factor: int | None = None
    clings: bool = False

    def held(self, concurrency: int) -> int:
        """Return a worker's prefetch."""
        return _default_held(concurrency) if self.prefetch_factor is None else concurrency * self.prefetch_factor

    def join(self, world: World) -> None:
        """Poll, and sync."""
        loop = _KedaLoop(world, self)
        world.every(self.poll_seconds, loop.poll)
        world.every(self.sync_seconds, loop.sync)


class _KedaLoop:
    def __init__(self, world: World, rule: Keda) -> None:
        self._world = world
        self._rule = rule
        self._active_at = 0.0
        self._wishes: list[tuple[float, int]] = []
        self._down: list[tuple[float, int]] = []

    def poll(self) -> None:
        """Wake the fleet, or put it to sleep."""
        world, staying = self._world, len(self._world.staying)
        if self._metric():
            self._active_at = world.now
            if not staying:
                world.start(max(1, world.setup.minimum))
        elif staying and not world.setup.minimum and world.now - self._active_at >= self._rule.cooldown_seconds:
            self._remove(staying)

    def sync(self) -> None:
        """Size the fleet, unless it sleeps."""
        world, rule, current = self._world, self._rule, len(self._world.staying)
        if not current:
            self._wishes.clear()
            return
        wanted = self._wanted(current)
        # A window that begins takes what there is for the first wish.
        known = self._wishes or [(world.now, current)]
        self._wishes = [wish for wish in known if wish[0] > world.now - rule.down_window_seconds]
        self._wishes.append((world.now, wanted))
        if wanted > current:
            allowed = max(current + rule.up_pods, math.ceil(current * (1 + rule.up_percent / 100)))
            world.start(min(wanted, allowed) - current)
            return
        kept = min(max(workers for _, workers in self._wishes), current)
        self._down = [step for step in self._down if step[0] > world.now - rule.down_period_seconds]
        allowed = max(round(rule.down_fraction * world.setup.maximum), 1) - sum(count for _, count in self._down)
        count = min(current - kept, max(allowed, 0))
        if count:
            self._down.append((world.now, count))
            self._remove(count)

    def _metric(self) -> int:
        ready, unacked = self._world.counted
        # A passive declare tells what is ready at this moment, the management API what was counted last.
        return ready + unacked if self._rule.sees_unacked else self._world.ready

    def _wanted(self, current: int) -> int:
        setup, metric = self._world.setup, self._metric()
        if abs(metric / (setup.concurrency * current) - 1) <= self._rule.tolerance:
            wanted = current
        else:
            wanted = math.ceil(metric / setup.concurrency)
        return min(max(wanted, 1, setup.minimum), setup.maximum)

    def _remove(self, count: int) -> None:
        """Let the ReplicaSet choose: those not up yet, then whichever: busy or not it cannot see (KEP-2255)."""
        staying = list(self._world.staying)
        self._world.rng.shuffle(staying)
        staying.sort(key=lambda worker: worker.ready)
        for worker in staying[:count]:
            self._world.terminate(worker)


RULES: Final[tuple[Callable[[], Rule], ...]] = (
    Warren,
    Keda,
    lambda: Keda(
        name="KEDA tuned",
        poll_seconds=10.0,
        cooldown_seconds=120.0,
        up_pods=50,
        up_percent=900,
        down_fraction=0.1,
        down_period_seconds=60.0,
    ),
    # Celery's default prefetch multiplier is 4; a warm shutdown gives back what was prefetched when the worker ends.
    lambda: Keda(name="Celery with KEDA", sees_unacked=False, prefetch_factor=4, clings=True),
)
"""The rules that are compared."""
