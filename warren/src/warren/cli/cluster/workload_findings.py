"""What the doctor makes of Warren's workloads and their namespace. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from warren.cli.cluster.port import BROKERS, CONFIG_MAPS, DISRUPTION_BUDGETS, NAMESPACES, SECRETS
from warren.cli.cluster.scaling_findings import most_replicas
from warren.cli.cluster.selecting import selects
from warren.cli.cluster.snapshot import Snapshot
from warren.cli.cluster.workload import (
    WORKER,
    Workload,
    environment,
    grace_seconds,
    login,
    pre_stop_seconds,
    references,
)
from warren.cli.finding import Finding, Rule, ok, some
from warren.settings import LifeSettings

RESERVE_SECONDS: Final = 10
"""What a worker needs after its drain to publish and to settle."""
DRAIN_SECONDS: Final = float(LifeSettings.model_fields["drain_seconds"].default)

NO_WORKLOADS: Final = Rule(
    check="workloads",
    level="broken",
    wrong="no workload in the namespace has the label app.kubernetes.io/part-of=warren (and the release's)",
    fix="name the right --namespace, --context and --release; else install the chart warren",
)
SHORT_GRACE: Final = Rule(
    check="grace period",
    level="broken",
    wrong="a worker's terminationGracePeriodSeconds is below preStop + WARREN_DRAIN_SECONDS + 10: Kubernetes kills "
    "jobs before the worker gives them back",
    fix="raise terminationGracePeriodSeconds to {least}, or lower WARREN_DRAIN_SECONDS",
)
MISSING_REFERENCE: Final = Rule(
    check="references",
    level="broken",
    wrong="a Secret or ConfigMap, or a key in it, that a workload names is not there",
    fix="make it, or name another one in the chart's values; the topology operator writes USER-user-credentials with "
    "the keys username and password",
)
MOVING_IMAGE: Final = Rule(
    check="images",
    level="note",
    wrong="an image has the tag latest or none: pods of one workload may run different code",
    fix="name a version or a digest",
)
GUEST_LOGIN: Final = Rule(
    check="broker login",
    level="broken",
    wrong="a workload logs in as guest, which RabbitMQ refuses from other machines",
    fix="give it a login of its own: WARREN_AMQP_USERNAME_FILE and WARREN_AMQP_PASSWORD_FILE from a Secret",
)
POD_SECURITY: Final = Rule(
    check="pod security",
    level="note",
    wrong="the namespace does not enforce the restricted profile, which all of Warren's pods keep",
    fix="kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=restricted",
)
NO_DISRUPTION_BUDGET: Final = Rule(
    check="disruption budget",
    level="note",
    wrong="a workload of several replicas, or the broker, has no PodDisruptionBudget: draining nodes may take all "
    "at once",
    fix="add one with maxUnavailable 1 (the charts do with their PDB switched on)",
)


def of_workloads(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge all workloads of Warren's, and what surrounds them."""
    if not snapshot.workloads:
        yield NO_WORKLOADS.found(f"none in namespace {snapshot.namespace}")
        return
    yield ok("workloads", some(workload.title for workload in snapshot.workloads))
    yield from of_grace(snapshot)
    yield from of_references(snapshot)
    yield from of_images(snapshot.workloads)
    yield from of_guest(snapshot)
    yield from of_disruption_budgets(snapshot)
    yield from of_namespace(snapshot)


def of_grace(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether workers may drain before they are killed; the grace period includes preStop."""
    workers = [workload for workload in snapshot.workloads if workload.component == WORKER]
    short = False
    for worker in workers:
        drain, before = _drain_seconds(worker, snapshot), pre_stop_seconds(worker)
        least = before + drain + RESERVE_SECONDS
        if grace_seconds(worker) < least:
            short = True
            yield SHORT_GRACE.found(
                f"{worker.title}: {grace_seconds(worker):g} s is less than preStop {before:g} + drain {drain:g} + "
                f"{RESERVE_SECONDS} = {least:g} s",
                least=f"{least:g}",
            )
    if workers and not short:
        yield ok("grace period", f"long enough to drain for {len(workers)} worker sets")


def of_references(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether the Secrets and ConfigMaps that templates name are there, with their keys."""
    looked = {kind for kind, its in (("Secret", SECRETS), ("ConfigMap", CONFIG_MAPS)) if snapshot.saw(its)}
    lacking: dict[str, list[str]] = {}
    for workload in snapshot.workloads:
        for one in references(workload):
            held = snapshot.data.of(one.kind).get(one.name)
            missing = sorted(one.keys - held.keys()) if held is not None else []
            if one.kind in looked and (held is None or missing):
                what = f"key {', '.join(missing)} of {one.kind} {one.name}" if missing else f"{one.kind} {one.name}"
                lacking.setdefault(what, []).append(workload.title)
    for what, users in sorted(lacking.items()):
        yield MISSING_REFERENCE.found(f"{what} is not there; named by {some(dict.fromkeys(users))}")
    if looked and not lacking:
        yield ok(
            "references",
            "every Secret and ConfigMap that is named is there"
            if len(looked) == 2
            else f"every {looked.pop()} that is named is there",
        )


def of_images(workloads: Iterable[Workload]) -> Iterator[Finding]:
    """Judge whether images are fixed."""
    moving = {
        f"{container['image']} of {workload.title}"
        for workload in workloads
        for container in workload.containers
        if _moves(str(container.get("image", "")))
    }
    yield MOVING_IMAGE.found(some(sorted(moving))) if moving else ok("images", "every image has a version or a digest")


def of_guest(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether a workload uses the broker's own login."""
    guests = [workload.title for workload in snapshot.workloads if login(workload, snapshot.data) == "guest"]
    if guests:
        yield GUEST_LOGIN.found(f"{some(guests)}: logs in as guest")


def of_disruption_budgets(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether what has several replicas is guarded when nodes are drained."""
    if not snapshot.saw(DISRUPTION_BUDGETS):
        return
    several = {
        workload.title: workload.labels for workload in snapshot.workloads if most_replicas(workload, snapshot) > 1
    } | {
        f"RabbitmqCluster {broker['metadata']['name']}": {"app.kubernetes.io/name": broker["metadata"]["name"]}
        for broker in snapshot.of(BROKERS)
        if broker["spec"].get("replicas", 1) > 1
    }
    selectors = [budget["spec"].get("selector") for budget in snapshot.of(DISRUPTION_BUDGETS)]
    bare = [title for title, labels in several.items() if not any(selects(one, labels) for one in selectors)]
    if bare:
        yield NO_DISRUPTION_BUDGET.found(f"none for {some(bare)}")
    elif several:
        yield ok("disruption budget", f"for all {len(several)} that have several replicas")


def of_namespace(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge the namespace's Pod Security label (https://kubernetes.io/docs/concepts/security/pod-security-admission/)."""
    for namespace in snapshot.of(NAMESPACES):
        level = namespace["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce", "")
        if level == "restricted":
            yield ok("pod security", f"namespace {snapshot.namespace} enforces restricted")
        else:
            held = f"enforces {level}" if level else "has no label pod-security.kubernetes.io/enforce"
            yield POD_SECURITY.found(f"namespace {snapshot.namespace} {held}", namespace=snapshot.namespace)


def _drain_seconds(worker: Workload, snapshot: Snapshot) -> float:
    text = environment(worker, snapshot.data).get("WARREN_DRAIN_SECONDS", "")
    try:
        return float(text) if text else DRAIN_SECONDS
    except ValueError:
        # The worker refuses to start with it, and says so.
        return DRAIN_SECONDS


def _moves(image: str) -> bool:
    """Tell whether an image's name may mean another image tomorrow; a port of the registry is no tag."""
    if "@" in image:
        return False
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag in ("", "latest")
