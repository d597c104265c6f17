"""What the scaler needs of a Kubernetes cluster: a port with few methods, so that the loop is tested without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from warren.errors import KubernetesError
from warren_scaler.deployments.lease import LeaseRecord
from warren_scaler.deployments.pods import Pod
from warren_scaler.deployments.sets import WorkerSet


class Conflict(KubernetesError):
    """Somebody else changed the object in the meantime."""


class Cluster(Protocol):
    """One namespace of a cluster. Each method asks once, within a few seconds.

    Raises:
        KubernetesError: The API server does not answer, or refuses; `KubernetesForbidden` for want of a right, and
            `Conflict` when somebody else was faster.
    """

    def deployments(self) -> Sequence[Mapping[str, Any]]:
        """Return the Deployments of workers, as the API server tells them."""
        ...

    def pods(self) -> Sequence[Pod]:
        """Return the pods of workers, without a look at what they do."""
        ...

    def scale(self, worker_set: WorkerSet, replicas: int) -> None:
        """Set a Deployment's replicas, provided that they are what they were when the set was read."""
        ...

    def annotate(self, pod: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of a pod; None takes one away."""
        ...

    def tell(self, worker_set: WorkerSet, reason: str, message: str, *, warning: bool = False) -> None:
        """Record an event on a Deployment."""
        ...


class Leases(Protocol):
    """The one lease that says who leads. Raises as `Cluster` does."""

    def read(self) -> tuple[LeaseRecord, str] | None:
        """Return the lease with its version, or None when there is none."""
        ...

    def create(self, record: LeaseRecord) -> None:
        """Make the lease; `Conflict` when there is one."""
        ...

    def replace(self, record: LeaseRecord, version: str) -> None:
        """Change the lease; `Conflict` when its version is another by now."""
        ...
