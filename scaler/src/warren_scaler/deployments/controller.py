"""The control loop over worker sets: look, decide, act; again. It keeps nothing that its successor would miss."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from warren.errors import KubernetesError, KubernetesForbidden, SettingsError, TransportError
from warren.lifecycle import StopSignal
from warren.topology import queue_name
from warren_scaler.decision import Work
from warren_scaler.deployments.cluster import Cluster, Conflict
from warren_scaler.deployments.marks import marks
from warren_scaler.deployments.meters import Meters
from warren_scaler.deployments.plan import Memory, Plan, Sight, plan
from warren_scaler.deployments.pods import COST, Pod
from warren_scaler.deployments.sets import WorkerSet, is_ours, read_set

logger = logging.getLogger(__name__)

PATCHES_A_STEP: Final = 20
"""Most pods annotated in one step: the API server has other callers (Kubernetes, "Pod deletion cost")."""
DEAF_SECONDS: Final = 15.0
"""How long workers are held to be out of reach after an order could not be given."""
_STUCK_INTERVALS: Final = 30


class Steering(Protocol):
    """Who tells workers to drain and to go on."""

    def drain(self, workers: Sequence[str]) -> None:
        """Tell workers to take no more work."""
        ...

    def undrain(self, workers: Sequence[str]) -> None:
        """Tell workers to go on."""
        ...


class Controller:
    """Keeps worker sets at the size their work deserves, as long as it leads.

    Args:
        cluster: Where the worker sets are.
        look: Returns the depths of the broker's queues by their names, or None when they cannot be known now.
        ask: Completes pods by what their workers do.
        orders: Tells workers to drain and to go on.
        leading: Whether this replica may act now.
        meters: What is counted.
        interval_seconds: Time between two looks.
        guard: Whether busy pods are marked as not to be disrupted.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        cluster: Cluster,
        look: Callable[[], Mapping[str, Work] | None],
        ask: Callable[[Sequence[Pod]], list[Pod]],
        orders: Steering,
        *,
        leading: Callable[[], bool],
        meters: Meters,
        interval_seconds: float,
        guard: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._look = look
        self._ask = ask
        self._orders = orders
        self._leading = leading
        self._meters = meters
        self._interval_seconds = interval_seconds
        self._guard = guard
        self._clock = clock
        self._memories: dict[str, Memory] = {}
        self._may_annotate = True
        self._deaf_until = clock()
        self._said: set[str] = set()
        self._last_step = clock()

    def run(self, stop: StopSignal) -> None:
        """Step until told to stop."""
        while not stop.requested:
            self.step()
            stop.wait(self._interval_seconds)

    def dead(self) -> str | None:
        """Say why the process should be restarted, or None. Never because of the broker or the API server."""
        age = self._clock() - self._last_step
        limit = max(120.0, _STUCK_INTERVALS * self._interval_seconds)
        return f"the loop has not turned for {age:.0f} s" if age > limit else None

    def step(self) -> None:
        """Look, decide and act once; without the lead only forget."""
        self._last_step = self._clock()
        leading = self._leading()
        self._meters.leads(leading)
        if not leading:
            self._memories.clear()
            return
        try:
            sets = self._sets()
            pods = self._ask(self._cluster.pods()) if sets else []
        except KubernetesError as error:
            self._failed("api_server", "cannot look at the cluster, all worker sets are held", error)
            return
        self._well("api_server")
        depths = self._look() if sets else {}
        if depths is None:
            self._meters.failed("broker")
        self._memories = {one.name: self._memories.get(one.name, Memory()) for one in sets}
        for worker_set in sets:
            self._steer(worker_set, _pods_of(worker_set, pods), depths)

    def _sets(self) -> list[WorkerSet]:
        sets = []
        for deployment in self._cluster.deployments():
            if is_ours(deployment):
                name = deployment["metadata"]["name"]
                try:
                    sets.append(read_set(deployment))
                except SettingsError as error:
                    self._failed("settings", f"the worker set {name} is held", error, about=name)
                else:
                    self._well("settings", about=name)
        return sets

    def _steer(self, worker_set: WorkerSet, pods: tuple[Pod, ...], depths: Mapping[str, Work] | None) -> None:
        now = self._clock()
        sight = Sight(
            set=worker_set,
            pods=pods,
            work=_work_of(worker_set, depths),
            marks=self._may_annotate,
            orders=now >= self._deaf_until,
        )
        memory = self._memories[worker_set.name]
        chosen, following = plan(sight, memory, now)
        self._meters.decided(worker_set, chosen)
        if worker_set.dry_run:
            self._tell_dry_run(worker_set, chosen)
        else:
            following = self._act(worker_set, chosen, memory, following)
            if self._guard and not worker_set.paused:
                self._mark(worker_set, marks(pods))
        self._memories[worker_set.name] = following

    def _act(self, worker_set: WorkerSet, chosen: Plan, memory: Memory, following: Memory) -> Memory:
        """Carry a decision out, and return what is to be remembered of it."""
        if chosen.changed_from is not None:
            self._tell(
                worker_set,
                "ReplicasChanged",
                f"somebody else set replicas from {chosen.changed_from} to {worker_set.replicas}; the scaler brings "
                "them to what the queues need (annotate the Deployment with warren.dev/paused=true to keep it out)",
                warning=True,
            )
        if (chosen.drain or chosen.recall) and not self._give_orders(worker_set, chosen):
            # Whether the recalled heard of it is not certain, so they are not let go for a while.
            following = replace(following, drained_at=memory.drained_at)
        self._mark(worker_set, {name: {COST: str(cost)} for name, cost in chosen.costs.items()})
        if chosen.replicas is None:
            return following
        try:
            if self._leading():
                self._scale(worker_set, chosen, chosen.replicas)
        except Conflict as error:
            # The next look shows what is there by now.
            logger.info("%s is decided on again: %s", worker_set.name, error, extra={"event": "scale_conflict"})
            return replace(following, replicas=memory.replicas)
        except KubernetesError as error:
            self._failed("api_server", f"{worker_set.name} cannot be scaled", error, about=worker_set.name)
            return replace(following, replicas=None)
        self._well("api_server", about=worker_set.name)
        return following

    def _give_orders(self, worker_set: WorkerSet, chosen: Plan) -> bool:
        if not self._leading():
            return False
        try:
            if chosen.drain:
                self._orders.drain([pod.status.worker for pod in chosen.drain if pod.status])
                self._tell(worker_set, "Draining", f"told {_names(chosen.drain)} to drain: {chosen.explanation}")
            if chosen.recall:
                self._orders.undrain([pod.status.worker for pod in chosen.recall if pod.status])
                self._tell(worker_set, "Undrained", f"told {_names(chosen.recall)} to go on: {chosen.explanation}")
        except TransportError as error:
            self._deaf_until = self._clock() + DEAF_SECONDS
            if self._failed("control", f"workers of {worker_set.name} cannot be told to drain or to go on", error):
                self._tell(
                    worker_set,
                    "OrdersRefused",
                    f"workers cannot be told to drain, so none is let go: {error}; "
                    "the scaler's login needs the right to write to warren.control",
                    warning=True,
                )
            return False
        self._well("control")
        return True

    def _scale(self, worker_set: WorkerSet, chosen: Plan, replicas: int) -> None:
        self._cluster.scale(worker_set, replicas)
        word = "ScaledUp" if replicas > worker_set.replicas else "ScaledDown"
        self._tell(worker_set, word, f"{worker_set.replicas} to {replicas} replicas: {chosen.explanation}")

    def _mark(self, worker_set: WorkerSet, wanted: Mapping[str, Mapping[str, str | None]]) -> None:
        """Annotate pods, a few a step; without the right do without, and say so once."""
        for name, values in list(wanted.items())[:PATCHES_A_STEP]:
            if not self._may_annotate or not self._leading():
                return
            try:
                self._cluster.annotate(name, values)
            except KubernetesForbidden as error:
                self._may_annotate = False
                logger.warning(
                    "pods cannot be marked, unready ones go first all the same: %s; grant `patch` on pods",
                    error,
                    extra={"event": "marks_refused"},
                )
                self._tell(worker_set, "MarksRefused", f"scaling goes on without marks on pods: {error}", warning=True)
            except KubernetesError as error:
                # A pod may be gone by now; whether it was marked is seen at the next look.
                logger.info("pod %s is not marked: %s", name, error, extra={"event": "mark_failed"})

    def _tell_dry_run(self, worker_set: WorkerSet, chosen: Plan) -> None:
        told = f"{worker_set.name}: {chosen.reason}, {chosen.active} workers now, {chosen.desired} wanted"
        if told not in self._said and chosen.active != chosen.desired:
            self._said = {known for known in self._said if not known.startswith(f"{worker_set.name}: ")} | {told}
            self._tell(worker_set, "DryRun", f"{told}: {chosen.explanation}")

    def _tell(self, worker_set: WorkerSet, reason: str, message: str, *, warning: bool = False) -> None:
        level = logging.WARNING if warning else logging.INFO
        logger.log(level, "%s: %s", worker_set.name, message, extra={"event": "scaled", "reason": reason})
        try:
            self._cluster.tell(worker_set, reason, message, warning=warning)
        except KubernetesError as error:
            # The log has it; scaling does not wait for its record.
            if "events" not in self._said:
                logger.warning("events cannot be recorded: %s", error, extra={"event": "events_refused"})
            self._said.add("events")

    def _failed(self, part: str, what: str, error: Exception, about: str = "") -> bool:
        """Count an error, and log it once per outage; returns whether it was logged."""
        self._meters.failed(part)
        key = f"{part} {about}"
        if key in self._said:
            return False
        self._said.add(key)
        logger.warning("%s: %s", what, error, extra={"event": "scaler_failed", "part": part})
        return True

    def _well(self, part: str, about: str = "") -> None:
        self._said.discard(f"{part} {about}")


def _pods_of(worker_set: WorkerSet, pods: Sequence[Pod]) -> tuple[Pod, ...]:
    return tuple(pod for pod in pods if worker_set.labels.items() <= pod.labels.items())


def _work_of(worker_set: WorkerSet, depths: Mapping[str, Work] | None) -> Work | None:
    """Add up a set's queues; one that the broker does not know is missing data."""
    if depths is None or any(queue_name(queue) not in depths for queue in worker_set.queues):
        return None
    found = [depths[queue_name(queue)] for queue in worker_set.queues]
    return Work(ready=sum(work.ready for work in found), unacked=sum(work.unacked for work in found))


def _names(pods: Sequence[Pod]) -> str:
    return ", ".join(pod.name for pod in pods)
