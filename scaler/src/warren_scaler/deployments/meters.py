"""What the scaler counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from warren.metrics import counter, gauge
from warren_scaler.deployments.plan import Plan
from warren_scaler.deployments.sets import WorkerSet


class Meters:
    """The metrics of the Kubernetes mode.

    Args:
        registry: Where they go.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._workers = gauge("warren_scaler_workers", registry)
        self._decisions = counter("warren_scaler_decisions_total", registry)
        self._errors = counter("warren_scaler_errors_total", registry)
        self._leader = gauge("warren_scaler_leader", registry)
        self._known: set[str] = set()

    def decided(self, worker_set: WorkerSet, plan: Plan) -> None:
        """Count a decision."""
        self._known.add(worker_set.name)
        self._decisions.labels(worker_set=worker_set.name, reason=plan.reason).inc()
        states = {
            "desired": plan.desired,
            "actual": plan.active,
            "draining": plan.draining,
            "limit": worker_set.policy.bounds.maximum,
        }
        for state, value in states.items():
            self._workers.labels(worker_set=worker_set.name, state=state).set(value)

    def failed(self, part: str) -> None:
        """Count an error of `api_server`, `broker`, `control` or `settings`."""
        self._errors.labels(part=part).inc()

    def leads(self, leading: bool) -> None:
        """Say whether this replica leads; one that does not tells nothing of worker sets."""
        self._leader.set(int(leading))
        if not leading:
            for name in self._known:
                for state in ("desired", "actual", "draining", "limit"):
                    self._workers.remove(name, state)
            self._known.clear()
