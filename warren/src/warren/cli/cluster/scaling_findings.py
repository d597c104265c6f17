"""What the doctor makes of autoscalers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from warren.cli.cluster.port import POD_AUTOSCALERS, SCALED_JOBS, SCALED_OBJECTS, Object
from warren.cli.cluster.snapshot import Snapshot
from warren.cli.cluster.workload import Workload
from warren.cli.finding import Finding, Rule, ok, some

_KEDA_MOST: Final = 100
"""What a ScaledObject allows that names no maximum (https://keda.sh/docs/latest/reference/scaledobject-spec/)."""

TWO_SCALERS: Final = Rule(
    check="autoscalers",
    level="broken",
    wrong="two autoscalers size one Deployment and undo each other's work",
    fix="keep one: set autoscaling.mode of the worker set to one of keda, hpa or none and delete the other object",
)
SCALER_NOT_READY: Final = Rule(
    check="autoscalers",
    level="broken",
    wrong="a ScaledObject or ScaledJob is not Ready: nobody sizes its workers",
    fix="kubectl describe it; most often its TriggerAuthentication's Secret, the broker's host or the queue's "
    "name is wrong",
)
SCALER_BLIND: Final = Rule(
    check="autoscalers",
    level="note",
    wrong="a ScaledObject works with its fallback: its trigger cannot be read",
    fix="see the log of keda-operator; the broker's management API must be reachable with a login that has "
    "the tag monitoring",
)
SCALER_UNSEEN: Final = Rule(
    check="autoscalers",
    level="broken",
    wrong="no operator has looked at a ScaledObject or ScaledJob",
    fix="install or restart KEDA",
)


def of_autoscalers(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge who sizes the workloads."""
    scalers = scalers_by_target(snapshot)
    deployments = [workload.name for workload in snapshot.workloads if workload.kind == "Deployment"]
    found = [
        TWO_SCALERS.found(f"Deployment {name} is sized by {some(title for title, _ in scalers[name])}")
        for name in deployments
        if len(scalers.get(name, [])) > 1
    ]
    for title, keda in _of_keda(snapshot):
        found += _of_conditions(title, keda)
    yield from found
    if not found:
        sized = [name for name in deployments if name in scalers]
        yield ok("autoscalers", f"one each for {some(sized)}" if sized else "none")


def scalers_by_target(snapshot: Snapshot) -> dict[str, list[tuple[str, int]]]:
    """Return the title and the maximum of all autoscalers by the Deployment they size."""
    found: dict[str, list[tuple[str, int]]] = {}
    for kind, objects, most, default in (
        ("ScaledObject", snapshot.of(SCALED_OBJECTS), "maxReplicaCount", _KEDA_MOST),
        ("HorizontalPodAutoscaler", [one for one in snapshot.of(POD_AUTOSCALERS) if not _kedas(one)], "maxReplicas", 1),
    ):
        for one in objects:
            target = one["spec"]["scaleTargetRef"]
            if target.get("kind", "Deployment") == "Deployment":
                title = f"{kind} {one['metadata']['name']}"
                found.setdefault(target["name"], []).append((title, one["spec"].get(most, default)))
    return found


def most_replicas(workload: Workload, snapshot: Snapshot) -> int:
    """Return how many pods a workload may have."""
    if workload.kind != "Deployment":
        return 0
    limits = [most for _, most in scalers_by_target(snapshot).get(workload.name, [])]
    return max([workload.replicas, *limits])


def _kedas(autoscaler: Object) -> bool:
    """Tell whether KEDA made the autoscaler for a ScaledObject."""
    owners = autoscaler["metadata"].get("ownerReferences", [])
    return any(owner["kind"] == "ScaledObject" for owner in owners)


def _of_keda(snapshot: Snapshot) -> Iterator[tuple[str, Object]]:
    """Return KEDA's objects that size Warren's workloads."""
    names = {workload.name for workload in snapshot.workloads}
    for one in snapshot.of(SCALED_OBJECTS):
        if one["spec"]["scaleTargetRef"]["name"] in names:
            yield f"ScaledObject {one['metadata']['name']}", one
    for one in snapshot.of(SCALED_JOBS):
        yield f"ScaledJob {one['metadata']['name']}", one


def _of_conditions(title: str, keda: Object) -> Iterator[Finding]:
    conditions: Mapping[str, Mapping[str, Any]] = {
        one["type"]: one for one in keda.get("status", {}).get("conditions", [])
    }
    ready = conditions.get("Ready", {})
    if not conditions:
        yield SCALER_UNSEEN.found(f"{title} has no conditions")
    elif ready.get("status") != "True":
        yield SCALER_NOT_READY.found(f"{title}: {ready.get('reason', 'no reason')}: {ready.get('message', '')}")
    if conditions.get("Fallback", {}).get("status") == "True":
        yield SCALER_BLIND.found(f"{title}: {conditions['Fallback'].get('message', 'in fallback')}")
