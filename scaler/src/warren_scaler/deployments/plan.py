"""What to do about a worker set. Pure.

Workers are let go in two phases: they are told to drain, and only when they have nothing left and Kubernetes holds them
to be unready is the Deployment lowered, by exactly their number. A ReplicaSet deletes unready pods before ready ones,
and of those the one with the least deletion cost, so it deletes the drained ones (KEP-2255).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from warren.pace import Pace, learn
from warren.scaling import Decision, Observation, Wish, decide
from warren_scaler.decision import Work
from warren_scaler.deployments.pods import BUSY_COST, DRAINED_COST, Pod, wanted_cost
from warren_scaler.deployments.sets import WorkerSet

Reason = Literal[
    "up", "undrain", "drain", "down", "draining", "settling", "hold", "no_data", "rollout", "paused", "reverted",
    "no_control",
]  # fmt: skip
ORDER_SECONDS: Final = 10.0
"""How long a worker may take to show that it follows an order, before the order is given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A worker set at one moment.

    Attributes:
        set: The Deployment.
        pods: Its pods, seen after the Deployment.
        work: What is in its queues, or None when the broker does not say.
        marks: Whether pods can be given a deletion cost.
        orders: Whether workers can be told to drain and to go on.
    """

    set: WorkerSet
    pods: tuple[Pod, ...]
    work: Work | None
    marks: bool = True
    orders: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one decision has to know of those before it. A new leader begins without; nothing is lost by that but time.

    Attributes:
        wishes: The policy's memory.
        pace: How long jobs run.
        replicas: What the Deployment was told last, or None.
        reverting: Somebody else changed the replicas, and they are not yet what they should be.
        fit: Pods that were found fit to be deleted the last time.
        draining: Pods that drained the last time: one that does not answer has not changed its mind.
        drained_at: Pods told to drain, and when.
        recalled_at: Pods told to go on, and when.
    """

    wishes: tuple[Wish, ...] = ()
    pace: Pace = field(default_factory=Pace)
    replicas: int | None = None
    reverting: bool = False
    fit: frozenset[str] = frozenset()
    draining: frozenset[str] = frozenset()
    drained_at: Mapping[str, float] = field(default_factory=dict)
    recalled_at: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One decision.

    Attributes:
        desired: How many workers should take work.
        reason: Why, as a metric label.
        explanation: Why, as a sentence.
        active: Workers that take work, or soon will.
        draining: Workers that drain.
        replicas: What to tell the Deployment, or None to leave it.
        drain: Pods whose workers are to be told to drain.
        recall: Pods whose workers are to be told to go on.
        costs: Deletion costs to set, by pod.
        changed_from: What the Deployment was told last, if somebody else has changed it since.
    """

    desired: int
    reason: Reason
    explanation: str
    active: int
    draining: int
    replicas: int | None = None
    drain: tuple[Pod, ...] = ()
    recall: tuple[Pod, ...] = ()
    costs: Mapping[str, int] = field(default_factory=dict)
    changed_from: int | None = None


def plan(sight: Sight, memory: Memory, now: float) -> tuple[Plan, Memory]:
    """Decide one step.

    More is given at once and in one step: drained workers are called back, the rest are new. Less is given only as the
    policy says, the idlest first. Nothing is taken away without data or during a rollout.

    Args:
        sight: The set as it is.
        memory: What the last decision left.
        now: Seconds on a clock that never goes back.

    Returns:
        The decision, and what the next one has to know, provided that this one is carried out.
    """
    fleet = _Fleet(sight, memory, now)
    chosen = _choose(fleet)
    told = fleet.set.replicas if chosen.replicas is None else chosen.replicas
    acts = not fleet.set.dry_run
    return chosen, Memory(
        wishes=fleet.decision.memory,
        pace=fleet.pace,
        replicas=told if acts else fleet.set.replicas,
        reverting=fleet.reverting and fleet.active != fleet.target,
        fit=fleet.fit,
        draining=frozenset(pod.name for pod in fleet.draining),
        drained_at=_orders(memory.drained_at, chosen.drain if acts else (), chosen.recall, now),
        recalled_at=_orders(memory.recalled_at, chosen.recall if acts else (), chosen.drain, now),
    )


class _Fleet:
    """What follows from a sight and the memory, each by its name."""

    def __init__(self, sight: Sight, memory: Memory, now: float) -> None:
        self.set = sight.set
        self.marks = sight.marks
        self.orders = sight.orders
        self.blind = sight.work is None
        self.memory = memory
        self._now = now
        self.live = tuple(pod for pod in sight.pods if not pod.terminating)
        self.draining = tuple(pod for pod in self.live if self.drains(pod))
        self.fit = frozenset(pod.name for pod in self.live if self._is_fit(pod))
        # More pods than the Deployment asks for: the ReplicaSet is about to delete some, which are the drained ones.
        self.excess = max(len(self.live) - self.set.replicas, 0)
        self.active = max(self.set.replicas - max(len(self.draining) - self.excess, 0), 0)
        self.pace = learn(memory.pace, (pod.status for pod in sight.pods if pod.status))
        self.decision = self._decide(sight)
        self.by_hand = memory.replicas not in (None, self.set.replicas) and not self.set.paused and not self.set.dry_run
        self.reverting = self.by_hand or memory.reverting

    @property
    def target(self) -> int:
        """The size the set should have by now: a change by hand takes nothing away before its time."""
        if not self.reverting:
            return self.decision.workers
        kept = max(wish.workers for wish in self.decision.memory)
        return max(self.decision.workers, min(kept, self.set.policy.bounds.maximum))

    def drains(self, pod: Pod) -> bool:
        """Say whether a pod drains, or was just told to."""
        if self.is_recalled(pod):
            return False
        if pod.status is None:
            return pod.name in self.memory.draining
        return pod.draining or self._lately(self.memory.drained_at, pod)

    def is_recalled(self, pod: Pod) -> bool:
        """Say whether a pod was just told to go on."""
        return self._lately(self.memory.recalled_at, pod)

    def is_quiet(self) -> bool:
        """Say whether the Deployment has one ReplicaSet at work: two share what is taken away, the busy one too."""
        return self.set.settled and len({pod.generation for pod in self.live}) <= 1

    def costs(self) -> dict[str, int]:
        """Return the deletion costs that are not yet as they have to be."""
        if not self.marks or self.set.paused or self.set.dry_run:
            return {}
        costs: dict[str, int] = {}
        for pod in self.live:
            if pod.name in self.fit:
                if pod.cost != DRAINED_COST:
                    costs[pod.name] = DRAINED_COST
            elif pod.cost < 0 or (self.fit and pod.busy and pod.cost < BUSY_COST):
                costs[pod.name] = wanted_cost(pod)
        return costs

    def is_sure(self) -> bool:
        """Say whether the ReplicaSet would delete no pod that may be busy before one that is fit to go."""
        if self.excess:
            return False
        if self.marks and self.costs():
            return False
        # An unready pod of the same cost might be picked instead; one that never started comes first and holds nothing.
        return self.marks or all(pod.ready or not pod.started or pod.name in self.fit for pod in self.live)

    def _decide(self, sight: Sight) -> Decision:
        leaving = [pod for pod in sight.pods if pod.terminating] + list(self.draining)
        staying = [pod for pod in self.live if pod not in self.draining]
        known = all(pod.status for pod in staying if pod.started)
        seen = Observation(
            current=self.active,
            ready=sight.work.ready if sight.work else None,
            unacked=sight.work.unacked if sight.work else None,
            leaving_jobs=sum(pod.status.held for pod in leaving if pod.status),
            running=sum(pod.status.held for pod in staying if pod.status) if known else None,
            busy_workers=sum(pod.busy for pod in staying),
            expected_seconds=self.set.expected_seconds or self.pace.expected_seconds,
        )
        return decide(seen, self.set.policy, self._now, self.memory.wishes)

    def _is_fit(self, pod: Pod) -> bool:
        return pod.drained and not pod.ready and not self.is_recalled(pod)

    def _lately(self, orders: Mapping[str, float], pod: Pod) -> bool:
        return self._now - orders.get(pod.name, self._now - ORDER_SECONDS) < ORDER_SECONDS


def _choose(fleet: _Fleet) -> Plan:
    if fleet.set.paused:
        return _plan(fleet, "paused", fleet.active)
    wanted = fleet.target
    if wanted > fleet.active:
        return _more(fleet, wanted)
    if fleet.blind:
        return _plan(fleet, "no_data", fleet.active)
    if not fleet.is_quiet():
        return _plan(fleet, "rollout", wanted)
    going = fleet.fit & fleet.memory.fit
    if going and fleet.is_sure():
        return _plan(fleet, "down", wanted, replicas=fleet.set.replicas - len(going))
    if wanted < fleet.active:
        return _less(fleet, wanted)
    if fleet.decision.reason == "settling":
        return _plan(fleet, "settling", wanted)
    return _plan(fleet, "draining" if fleet.draining else "hold", wanted)


def _more(fleet: _Fleet, wanted: int) -> Plan:
    missing = wanted - fleet.active
    # Those with a job left are warm, and those that are about to be deleted stay gone.
    able = [
        pod for pod in fleet.draining if pod.status and fleet.orders and not (fleet.excess and pod.name in fleet.fit)
    ]
    recall = tuple(sorted(able, key=lambda pod: (pod.drained, not pod.ready, pod.name))[:missing])
    grow = missing - len(recall)
    reason: Reason = "undrain"
    if grow:
        reason = "no_data" if fleet.blind else "reverted" if fleet.decision.workers <= fleet.active else "up"
    # Those that drain and cannot be called back still have their pods.
    most = max(fleet.set.policy.bounds.maximum, fleet.set.replicas)
    replicas = min(fleet.set.replicas + grow, most)
    return _plan(fleet, reason, wanted, replicas=replicas if replicas != fleet.set.replicas else None, recall=recall)


def _less(fleet: _Fleet, wanted: int) -> Plan:
    surplus = fleet.active - wanted
    able = [
        pod for pod in fleet.live if pod.ready and pod.status and not fleet.drains(pod) and not fleet.is_recalled(pod)
    ]
    drain = tuple(sorted(able, key=_idleness)[:surplus])
    if not drain and not any(pod.started for pod in fleet.live) and not fleet.excess:
        # Pods that never came to run hold nothing.
        return _plan(fleet, "down", wanted, replicas=fleet.set.replicas - surplus)
    if not fleet.orders:
        return _plan(fleet, "no_control", wanted)
    return _plan(fleet, "drain" if drain else "draining", wanted, drain=drain)


def _plan(
    fleet: _Fleet,
    reason: Reason,
    desired: int,
    *,
    replicas: int | None = None,
    drain: tuple[Pod, ...] = (),
    recall: tuple[Pod, ...] = (),
) -> Plan:
    return Plan(
        desired=desired,
        reason=reason,
        explanation=fleet.decision.target.explanation,
        active=fleet.active,
        draining=len(fleet.draining),
        replicas=replicas,
        drain=drain,
        recall=recall,
        costs=fleet.costs(),
        changed_from=fleet.memory.replicas if fleet.by_hand else None,
    )


def _idleness(pod: Pod) -> tuple[int, float, str]:
    assert pod.status is not None  # noqa: S101 - only those that answered are asked about
    return pod.status.held, pod.status.oldest_job_seconds, pod.name


def _orders(
    before: Mapping[str, float], given: Collection[Pod], opposite: Collection[Pod], now: float
) -> dict[str, float]:
    ended = {pod.name for pod in opposite}
    kept = {name: at for name, at in before.items() if now - at < ORDER_SECONDS and name not in ended}
    return kept | {pod.name: now for pod in given}
