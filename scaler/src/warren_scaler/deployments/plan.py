"""What to do about a worker set. Pure.

Workers are let go in two phases: they are told to drain, and only when they have nothing left and Kubernetes holds them
to be unready is the Deployment lowered, by exactly their number. A ReplicaSet deletes unready pods before ready ones, and
of those the one with the least deletion cost, so it deletes the drained ones (KEP-2255).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from warren_scaler.decision import Wish, Work, recent, wish
from warren_scaler.deployments.pods import BUSY_COST, DRAINED_COST, Pod, wanted_cost
from warren_scaler.deployments.sets import WorkerSet
from warren_scaler.fleet import Size

Reason = Literal[
    "up", "undrain", "drain", "down", "draining", "settling", "hold", "no_data", "rollout", "paused", "reverted"
]
ORDER_SECONDS: Final = 10.0
"""How long a worker may take to show that it follows an order, before the order is given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A worker set at one moment.

    Attributes:
        set: The Deployment.
        pods: Its pods.
        work: What is in its queues, or None when the broker does not say.
        marks: Whether pods can be given a deletion cost.
    """

    set: WorkerSet
    pods: tuple[Pod, ...]
    work: Work | None
    marks: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one decision has to know of those before it. A new leader begins without; nothing is lost by that but time.

    Attributes:
        since: When it began, on a clock that never goes back.
        wishes: The recent wishes, oldest first.
        replicas: What the Deployment was told last, or None.
        reverting: Somebody else changed the replicas, and they are not yet what they should be.
        drained: Pods that were found fit to be deleted the last time.
        ordered_drain: Workers told to drain, and when.
        ordered_undrain: Workers told to go on, and when.
    """

    since: float
    wishes: tuple[Wish, ...] = ()
    replicas: int | None = None
    reverting: bool = False
    drained: frozenset[str] = frozenset()
    ordered_drain: Mapping[str, float] = field(default_factory=dict)
    ordered_undrain: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One decision.

    Attributes:
        desired: How many workers should take work.
        reason: Why, as a metric label.
        replicas: What to tell the Deployment, or None to leave it.
        drain: Workers to tell to drain.
        undrain: Workers to tell to go on.
        costs: Deletion costs to set, by pod.
        active: Workers that take work, or soon will.
        draining: Workers that drain.
        by_hand: Somebody else changed the replicas since the last decision.
    """

    desired: int
    reason: Reason
    replicas: int | None = None
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    costs: Mapping[str, int] = field(default_factory=dict)
    active: int = 0
    draining: int = 0
    by_hand: bool = False


def plan(sight: Sight, memory: Memory, now: float) -> tuple[Plan, Memory]:
    """Decide one step.

    More is given at once and in one step: drained workers are called back, the rest are new. Less is given only down to
    the highest wish of the recent past, the idlest first. Nothing is taken away without data, during a rollout, or
    before a new leader has looked on for as long as the set has to be quiet.

    Args:
        sight: The set as it is.
        memory: What the last decision left.
        now: Seconds on a clock that never goes back.

    Returns:
        The decision, and what the next one has to know, provided that this one is carried out.
    """
    return _Planner(sight, memory, now).decide()


class _Planner:
    """The values of one decision by name."""

    def __init__(self, sight: Sight, memory: Memory, now: float) -> None:
        self.set = sight.set
        self.marks = sight.marks
        self.memory = memory
        self.now = now
        self.live = tuple(pod for pod in sight.pods if not pod.terminating)
        self.draining = tuple(pod for pod in self.live if self._drains(pod))
        self.active = max(self.set.replicas - len(self.draining), 0)
        leaving = [pod for pod in sight.pods if pod.terminating] + list(self.draining)
        self.work = _without(sight.work, sum(pod.activity.running for pod in leaving if pod.activity))
        size = Size(active=self.active, draining=len(self.draining))
        self.wish = wish(self.work, size, self.set.bounds, now)
        self.wishes = tuple(recent([*memory.wishes, self.wish], now, self.set.stable_seconds))
        self.kept = max(known.workers for known in self.wishes)
        self.fit = self._fit_to_go()
        self.by_hand = memory.replicas is not None and memory.replicas != self.set.replicas

    def decide(self) -> tuple[Plan, Memory]:
        chosen = self._choose()
        told = self.set.replicas if chosen.replicas is None else chosen.replicas
        # Back where it should be: the next change by hand is news again.
        reverting = (self.by_hand or self.memory.reverting) and self.active != self._target()
        return chosen, Memory(
            since=self.memory.since,
            wishes=self.wishes,
            replicas=self.set.replicas if self.set.dry_run else told,
            reverting=reverting,
            drained=self.fit,
            ordered_drain=self._orders(self.memory.ordered_drain, chosen.drain, chosen.undrain),
            ordered_undrain=self._orders(self.memory.ordered_undrain, chosen.undrain, chosen.drain),
        )

    def _choose(self) -> Plan:
        if self.set.paused:
            return self._plan("paused", desired=self.active)
        if self.wish.workers > self.active:
            return self._more(self.wish.workers, "no_data" if self.work is None else "up")
        if self.work is None:
            return self._plan("no_data", desired=self.active)
        if self._target() > self.active:
            return self._more(self._target(), "reverted")
        if not self._is_quiet():
            return self._plan("rollout", desired=self.kept)
        lowered = self._lower()
        if lowered is not None:
            return lowered
        return self._less()

    def _target(self) -> int:
        """Return the size the set should have by now: a change by hand counts for nothing."""
        reverting = self.by_hand or self.memory.reverting
        return max(self.wish.workers, self.kept) if reverting else self.wish.workers

    def _more(self, wanted: int, reason: Reason) -> Plan:
        missing = wanted - self.active
        # Those that still run something are left with it longest: they come back first, and warm.
        back = sorted(self.draining, key=lambda pod: (pod.drained, not pod.ready, pod.name))[:missing]
        grow = missing - len(back)
        return self._plan(
            reason if grow else "undrain",
            desired=wanted,
            replicas=self.set.replicas + grow if grow else None,
            undrain=tuple(pod.activity.worker for pod in back if pod.activity),
        )

    def _less(self) -> Plan:
        if self.active == self.wish.workers:
            return self._plan("draining" if self.draining else "hold", desired=self.wish.workers)
        if self.kept >= self.active or self.now - self.memory.since < self.set.stable_seconds:
            return self._plan("settling", desired=self.active)
        surplus = self.active - self.kept
        candidates = [
            pod
            for pod in self.live
            if pod.started and pod.ready and pod.activity and not self._drains(pod) and not self._called_back(pod)
        ]
        idlest = sorted(candidates, key=_idleness)[:surplus]
        if not idlest and not any(pod.started for pod in self.live) and len(self.live) == self.set.replicas:
            # Pods that never came to run hold nothing, and a ReplicaSet deletes those first.
            return self._plan("down", desired=self.kept, replicas=self.set.replicas - surplus)
        return self._plan(
            "drain" if idlest else "draining",
            desired=self.kept,
            drain=tuple(pod.activity.worker for pod in idlest if pod.activity),
        )

    def _lower(self) -> Plan | None:
        """Lower the Deployment by those that are fit to go, once it is certain that they are the ones to go."""
        going = self.fit & self.memory.drained
        if not self.fit:
            return None
        if not going or not self._sure():
            return None if self.active > self.kept else self._plan("draining", desired=self.wish.workers)
        return self._plan("down", desired=self.wish.workers, replicas=self.set.replicas - len(going))

    def _sure(self) -> bool:
        """Say whether no pod that may be busy would be deleted before one that is fit to go."""
        if self.marks:
            return not self._costs()
        return all(pod.ready or not pod.started or pod.name in self.fit for pod in self.live)

    def _costs(self) -> dict[str, int]:
        """Return the costs that are not yet as they have to be."""
        if not self.marks or self.set.paused:
            return {}
        costs: dict[str, int] = {}
        for pod in self.live:
            if pod.name in self.fit:
                if pod.cost != DRAINED_COST:
                    costs[pod.name] = DRAINED_COST
            elif pod.cost < 0 or (self.fit and pod.busy and pod.cost < BUSY_COST):
                costs[pod.name] = wanted_cost(pod)
        return costs

    def _fit_to_go(self) -> frozenset[str]:
        return frozenset(
            pod.name for pod in self.live if pod.drained and not pod.ready and not self._called_back(pod)
        )

    def _is_quiet(self) -> bool:
        """Say whether the Deployment has one ReplicaSet at work: two share what is taken away, the busy one too."""
        return self.set.settled and len({pod.generation for pod in self.live}) <= 1

    def _drains(self, pod: Pod) -> bool:
        if pod.activity is None or self._called_back(pod):
            return False
        return pod.draining or self._lately(self.memory.ordered_drain, pod)

    def _called_back(self, pod: Pod) -> bool:
        return self._lately(self.memory.ordered_undrain, pod)

    def _lately(self, orders: Mapping[str, float], pod: Pod) -> bool:
        return pod.activity is not None and self.now - orders.get(pod.activity.worker, -ORDER_SECONDS) < ORDER_SECONDS

    def _orders(self, before: Mapping[str, float], given: Sequence[str], taken_back: Sequence[str]) -> dict[str, float]:
        kept = {who: at for who, at in before.items() if self.now - at < ORDER_SECONDS and who not in taken_back}
        return kept | dict.fromkeys(() if self.set.dry_run else given, self.now)

    def _plan(
        self,
        reason: Reason,
        *,
        desired: int,
        replicas: int | None = None,
        drain: tuple[str, ...] = (),
        undrain: tuple[str, ...] = (),
    ) -> Plan:
        return Plan(
            desired=desired,
            reason=reason,
            replicas=replicas,
            drain=drain,
            undrain=undrain,
            costs=self._costs(),
            active=self.active,
            draining=len(self.draining),
            by_hand=self.by_hand and not self.set.paused,
        )


def _idleness(pod: Pod) -> tuple[int, float, str]:
    assert pod.activity is not None  # noqa: S101 - candidates have answered
    return pod.activity.running, pod.activity.oldest_job_seconds, pod.name


def _without(work: Work | None, held: int) -> Work | None:
    """Leave out the jobs of workers that take no more: they are seen to."""
    return None if work is None else Work(ready=work.ready, unacked=max(work.unacked - held, 0))
