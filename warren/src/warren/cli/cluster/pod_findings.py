"""What the doctor makes of the pods that run. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from warren.cli.cluster.port import BROKERS, PODS, Object
from warren.cli.cluster.selecting import selects
from warren.cli.cluster.snapshot import Snapshot
from warren.cli.cluster.workload import SCALER
from warren.cli.finding import Finding, Rule, ok, some

_TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path

CRASHING: Final = Rule(
    check="pods",
    level="broken",
    wrong="a container ends again and again (CrashLoopBackOff)",
    fix="kubectl logs --previous POD says why",
)
NO_IMAGE: Final = Rule(
    check="pods",
    level="broken",
    wrong="an image cannot be pulled",
    fix="check the image's name, its tag and imagePullSecrets",
)
BAD_CONTAINER: Final = Rule(
    check="pods",
    level="broken",
    wrong="a container cannot be made, most often because a Secret, a ConfigMap or a key is missing",
    fix="kubectl describe pod POD names what is missing",
)
OUT_OF_MEMORY: Final = Rule(
    check="pods",
    level="broken",
    wrong="a container was killed for its memory (OOMKilled): the jobs it ran start again",
    fix="raise the memory limit, or lower the concurrency of the worker set",
)
NO_NODE: Final = Rule(
    check="pods",
    level="broken",
    wrong="no node has room for a pod",
    fix="lower its requests, add nodes, or see its affinity and tolerations with kubectl describe pod",
)
RESTARTED: Final = Rule(
    check="pods",
    level="note",
    wrong="a container was started again",
    fix="kubectl logs --previous POD says why the one before ended",
)
REFUSED_PODS: Final = Rule(
    check="pods",
    level="broken",
    wrong="the cluster refuses a workload's pods: a quota, or a Pod Security profile they do not keep",
    fix="kubectl describe the workload's ReplicaSet; keep securityContext as the chart sets it",
)
NONE_READY: Final = Rule(
    check="readiness",
    level="broken",
    wrong="a workload has no pod that is ready",
    fix="kubectl logs one of its pods: a pod that cannot reach or log in to its broker or its store says so",
)
SOME_UNREADY: Final = Rule(
    check="readiness",
    level="note",
    wrong="a workload has fewer ready pods than it wants",
    fix="wait for the rollout; else kubectl describe and kubectl logs the pods that are not ready",
)
TOKEN_MOUNTED: Final = Rule(
    check="service account token",
    level="note",
    wrong="a server or worker has a token of the Kubernetes API, which it does not need",
    fix="set automountServiceAccountToken: false in its pod template",
)

_WAITING: Final = {
    "CrashLoopBackOff": CRASHING,
    "ErrImagePull": NO_IMAGE,
    "ImagePullBackOff": NO_IMAGE,
    "ErrImageNeverPull": NO_IMAGE,
    "InvalidImageName": NO_IMAGE,
    "CreateContainerConfigError": BAD_CONTAINER,
    "CreateContainerError": BAD_CONTAINER,
    "RunContainerError": BAD_CONTAINER,
}


def of_pods(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge the pods of Warren's workloads and of the broker."""
    pods = [*_own(snapshot), *_brokers(snapshot)]
    found: dict[Rule, list[str]] = {}
    for pod in pods:
        for rule, what in _complaints(pod):
            found.setdefault(rule, []).append(f"{pod['metadata']['name']}{what}")
    for workload in snapshot.workloads:
        for condition in workload.conditions:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                found.setdefault(REFUSED_PODS, []).append(f"{workload.title}: {condition.get('message', '')}")
    yield from (rule.found(some(names)) for rule, names in found.items())
    if not found and snapshot.saw(PODS):
        yield ok("pods", f"{len(pods)}, none restarted or stuck")
    yield from of_readiness(snapshot)
    yield from of_tokens(snapshot)


def of_readiness(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether as many pods are ready as are wanted."""
    deployments = [workload for workload in snapshot.workloads if workload.kind == "Deployment"]
    none = [one.title for one in deployments if one.replicas and not one.ready]
    few = [f"{one.title} {one.ready} of {one.replicas}" for one in deployments if 0 < one.ready < one.replicas]
    if none:
        yield NONE_READY.found(some(none))
    if few:
        yield SOME_UNREADY.found(some(few))
    if deployments and not none and not few:
        yield ok("readiness", f"{sum(one.ready for one in deployments)} pods are ready")


def of_tokens(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether pods that need none have a token of the API."""
    pods = _own(snapshot, but=SCALER)
    holding = [pod["metadata"]["name"] for pod in pods if _holds_token(pod)]
    if holding:
        yield TOKEN_MOUNTED.found(some(holding))
    elif pods:
        yield ok("service account token", "in no server or worker")


def _own(snapshot: Snapshot, but: str = "") -> list[Object]:
    selectors = [workload.selector for workload in snapshot.workloads if workload.component != but or not but]
    return [pod for pod in snapshot.of(PODS) if any(selects(one, _labels(pod)) for one in selectors)]


def _brokers(snapshot: Snapshot) -> list[Object]:
    names = {broker["metadata"]["name"] for broker in snapshot.of(BROKERS)}
    return [
        pod
        for pod in snapshot.of(PODS)
        if _labels(pod).get("app.kubernetes.io/component") == "rabbitmq"
        and _labels(pod).get("app.kubernetes.io/name") in names
    ]


def _labels(pod: Object) -> dict[str, str]:
    return dict(pod["metadata"].get("labels", {}))


def _complaints(pod: Object) -> Iterator[tuple[Rule, str]]:
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield NO_NODE, f" ({condition.get('message', condition.get('reason', ''))})"
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = container.get("state", {}).get("waiting", {})
        rule = _WAITING.get(waiting.get("reason", ""))
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
        if rule is not None:
            yield rule, f" ({waiting.get('message') or waiting['reason']})"
        if ended.get("reason") == "OOMKilled":
            yield OUT_OF_MEMORY, f" ({container['name']})"
        elif rule is None and container.get("restartCount", 0) > 0:
            yield RESTARTED, f" ({container['restartCount']} times, last exit code {_code(ended)})"


def _code(ended: dict[str, Any]) -> str:
    return str(ended.get("exitCode", "unknown"))


def _holds_token(pod: Object) -> bool:
    containers = pod.get("spec", {}).get("containers", [])
    return any(mount["mountPath"] == _TOKEN_FOLDER for one in containers for mount in one.get("volumeMounts", []))
