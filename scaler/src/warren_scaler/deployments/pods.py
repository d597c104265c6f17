"""Pods of a worker set: what the API server tells of them, and what their workers do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from warren.status import WorkerStatus

COST: Final = "controller.kubernetes.io/pod-deletion-cost"
"""Of pods that are ready alike, a ReplicaSet deletes those that cost less first (Kubernetes, "Pod deletion cost")."""
DRAINED_COST: Final = -1000
BUSY_COST: Final = 10
MOST_COST: Final = 86400
SAFE_TO_EVICT: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
DO_NOT_DISRUPT: Final = "karpenter.sh/do-not-disrupt"
_GENERATION: Final = "pod-template-hash"
_CONTAINER: Final = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod that exists.

    Attributes:
        name: Its name.
        labels: Its labels.
        address: Its IP, once it has one.
        ready: Kubernetes holds it to be ready.
        started: Its worker's container runs.
        terminating: It is told to end.
        cost: Its deletion cost.
        guarded: It is marked as not to be disrupted.
        status: What its worker does, or None when it does not answer.
    """

    name: str
    labels: Mapping[str, str]
    address: str | None = None
    ready: bool = False
    started: bool = False
    terminating: bool = False
    cost: int = 0
    guarded: bool = False
    status: WorkerStatus | None = None

    @property
    def generation(self) -> str:
        """Which template of the Deployment it was made from."""
        return self.labels.get(_GENERATION, "")

    @property
    def draining(self) -> bool:
        """Its worker says that it takes no new work."""
        return self.status is not None and self.status.draining

    @property
    def drained(self) -> bool:
        """Its worker takes no new work and holds none."""
        return self.status is not None and self.status.drained

    @property
    def busy(self) -> bool:
        """It may hold a job: a worker that does not answer counts as busy."""
        return self.started and (self.status is None or self.status.held > 0)


def read_pod(pod: Mapping[str, Any]) -> Pod | None:
    """Read a pod, as the API server tells it; None for one that has ended."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    annotations = metadata.get("annotations") or {}
    return Pod(
        name=metadata["name"],
        labels=dict(metadata.get("labels") or {}),
        address=status.get("podIP"),
        ready=any(told["type"] == "Ready" and told["status"] == "True" for told in status.get("conditions") or ()),
        started=any(
            told["name"] == _CONTAINER and "running" in (told.get("state") or {})
            for told in status.get("containerStatuses") or ()
        ),
        terminating="deletionTimestamp" in metadata,
        cost=_cost(annotations.get(COST, "0")),
        guarded=annotations.get(SAFE_TO_EVICT) == "false",
    )


def wanted_cost(pod: Pod) -> int:
    """Say what a pod should cost that is not to be deleted: more, the longer its oldest job runs."""
    if not pod.busy:
        return 0
    age = 0.0 if pod.status is None else pod.status.oldest_job_seconds
    return min(BUSY_COST + int(age), MOST_COST)


def _cost(text: str) -> int:
    # Kubernetes itself takes what it cannot read for 0.
    try:
        return int(text)
    except ValueError:
        return 0
