"""A Deployment, its ReplicaSet, kubelet's probes and workers, as far as the scaler can tell them from real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from warren.errors import KubernetesForbidden
from warren.status import WorkerStatus
from warren_scaler.decision import Work
from warren_scaler.deployments.cluster import Conflict
from warren_scaler.deployments.pods import COST, Pod
from warren_scaler.deployments.sets import WorkerSet

LABELS = {"warren.dev/worker-set": "default", "app.kubernetes.io/component": "worker"}


@dataclass
class SimulatedPod:
    """A pod with its worker. Readiness follows what the worker is with a delay, as kubelet's probes do."""

    name: str
    age: int = 0
    started: bool = False
    ready: bool = False
    draining: bool = False
    jobs: list[int] = field(default_factory=list)
    cost: int = 0
    silent: bool = False
    generation: str = "a"


class SimulatedCluster:
    """One Deployment `workers`. Jobs are numbers: how many ticks of work are left.

    Args:
        rng: Every delay and every choice that Kubernetes leaves open.
        concurrency: Jobs a worker runs at once.
        may_annotate: Whether pods can be given a cost.
    """

    def __init__(self, rng: Random, *, concurrency: int = 1, may_annotate: bool = True) -> None:
        self.rng = rng
        self.concurrency = concurrency
        self.may_annotate = may_annotate
        self.annotations: dict[str, str] = {
            "warren.dev/autoscaling": "scaler",
            "warren.dev/queues": "default",
            "warren.dev/min": "0",
            "warren.dev/max": "8",
            "warren.dev/concurrency": str(concurrency),
            "warren.dev/stabilization-seconds": "6",
        }
        self.replicas = 0
        self.pod_list: list[SimulatedPod] = []
        self.queue: list[int] = []
        self.interrupted = 0
        self.done = 0
        self.scales: list[int] = []
        self.events: list[tuple[str, str]] = []
        self.orders_given: list[tuple[str, tuple[str, ...]]] = []
        self.blind = False
        self.silence = 0.1
        self._made = 0

    # What the scaler sees and does.

    def deployments(self) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "metadata": {"name": "workers", "uid": "u", "generation": 1, "annotations": dict(self.annotations)},
                "spec": {"replicas": self.replicas, "selector": {"matchLabels": LABELS}},
                "status": {"observedGeneration": 1},
            }
        ]

    def pods(self) -> Sequence[Pod]:
        return [
            Pod(
                name=pod.name,
                labels=LABELS | {"pod-template-hash": pod.generation},
                address=f"address of {pod.name}",
                ready=pod.ready,
                started=pod.started,
                cost=pod.cost,
            )
            for pod in self.pod_list
        ]

    def ask(self, pods: Sequence[Pod]) -> list[Pod]:
        known = {pod.name: pod for pod in self.pod_list}
        return [_answered(pod, known[pod.name], self.concurrency) for pod in pods]

    def look(self) -> dict[str, Work] | None:
        if self.blind:
            return None
        return {"warren.q.default": Work(ready=len(self.queue), unacked=sum(len(pod.jobs) for pod in self.pod_list))}

    def scale(self, worker_set: WorkerSet, replicas: int) -> None:
        if worker_set.replicas != self.replicas:
            raise Conflict("changed")
        self.replicas = replicas
        self.scales.append(replicas)

    def annotate(self, pod: str, annotations: Mapping[str, str | None]) -> None:
        if not self.may_annotate:
            raise KubernetesForbidden("pods is forbidden: cannot patch")
        for known in self.pod_list:
            if known.name == pod and COST in annotations:
                known.cost = int(annotations[COST] or 0)

    def tell(self, worker_set: WorkerSet, reason: str, message: str, *, warning: bool = False) -> None:
        self.events.append((reason, message))

    def drain(self, workers: Sequence[str]) -> None:
        self._order("drain", workers, draining=True)

    def undrain(self, workers: Sequence[str]) -> None:
        self._order("undrain", workers, draining=False)

    def _order(self, word: str, workers: Sequence[str], *, draining: bool) -> None:
        self.orders_given.append((word, tuple(workers)))
        for pod in self.pod_list:
            if f"{pod.name}-1" in workers:
                pod.draining = draining

    # What the world does.

    def tick(self) -> None:
        """Let a moment pass: the ReplicaSet acts or not, containers start or not, probes are late, jobs go on."""
        if self.rng.random() < 0.7:
            self._replicate()
        for pod in self.pod_list:
            pod.age += 1
            if not pod.started and self.rng.random() < 0.5:
                pod.started = True
            if pod.started and self.rng.random() < 0.4:
                pod.ready = not (pod.draining and not pod.jobs)
            pod.silent = self.rng.random() < self.silence
            if pod.started and not pod.draining:
                while self.queue and len(pod.jobs) < self.concurrency and self.rng.random() < 0.8:
                    pod.jobs.append(self.queue.pop())
            pod.jobs = [left - 1 for left in pod.jobs]
            self.done += pod.jobs.count(0)
            pod.jobs = [left for left in pod.jobs if left > 0]

    def _replicate(self) -> None:
        while len(self.pod_list) < self.replicas:
            self._made += 1
            self.pod_list.append(SimulatedPod(name=f"pod-{self._made}"))
        # ActivePodsWithRanks of the ReplicaSet controller; what it leaves open is drawn.
        order = sorted(self.pod_list, key=lambda pod: (pod.started, pod.ready, pod.cost, self.rng.random()))
        for victim in order[: max(len(order) - self.replicas, 0)]:
            self.pod_list.remove(victim)
            self.interrupted += len(victim.jobs)
            self.queue.extend(victim.jobs)


def _answered(pod: Pod, known: SimulatedPod, concurrency: int) -> Pod:
    if not known.started or known.silent:
        return pod
    return replace(
        pod,
        status=WorkerStatus(
            worker=f"{known.name}-1",
            concurrency=concurrency,
            running=len(known.jobs),
            waiting=0,
            oldest_job_seconds=float(known.age) if known.jobs else 0.0,
            draining=known.draining,
        ),
    )
