"""What the doctor makes of the broker's object, of its topology's objects, and of the operators behind them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from warren.cli.cluster.port import BROKERS, PERMISSIONS, TOPOLOGY, USERS, Object
from warren.cli.cluster.scaling_findings import scalers_by_target
from warren.cli.cluster.snapshot import OPERATORS, Snapshot
from warren.cli.finding import Finding, Rule, ok, some

_CLUSTER_OPERATOR: Final = (
    "kubectl apply -f https://github.com/rabbitmq/cluster-operator/releases/latest/download/cluster-operator.yml"
)
_NOTHING: Final = ("", "^$")

NO_CLUSTER_OPERATOR: Final = Rule(
    check="operators",
    level="note",
    wrong="the cluster does not know RabbitmqCluster: the broker is run otherwise",
    fix=f"with a broker outside nothing; else {_CLUSTER_OPERATOR}",
)
NO_TOPOLOGY_OPERATOR: Final = Rule(
    check="operators",
    level="note",
    wrong="the cluster does not know Queue, User and their kin: the topology is made otherwise",
    fix="with `warren topology apply` nothing; else install the messaging topology operator (it needs cert-manager): "
    "https://www.rabbitmq.com/kubernetes/operator/install-topology-operator",
)
OPERATOR_DOWN: Final = Rule(
    check="operators",
    level="broken",
    wrong="an operator has no pod that is ready: changes of the broker or its topology do not happen",
    fix="kubectl describe and kubectl logs its Deployment",
)
NO_BROKER: Final = Rule(
    check="broker object",
    level="note",
    wrong="there is no RabbitmqCluster in the namespace",
    fix="with a broker outside or in another namespace nothing; else install the chart warren-rabbitmq",
)
UNSEEN_BROKER: Final = Rule(
    check="broker object",
    level="broken",
    wrong="the operator has not looked at a RabbitmqCluster, or not at its last change",
    fix="see the log of rabbitmq-cluster-operator; it must watch this namespace",
)
QUORUM: Final = Rule(
    check="broker quorum",
    level="broken",
    wrong="the broker has no quorum to spare: stopping one more node stops queues",
    fix="upgrade and restart nothing; bring the broker's other pods back first (kubectl describe pod)",
)
NODES_AWAY: Final = Rule(
    check="broker quorum",
    level="note",
    wrong="quorum holds, but some of the broker's nodes are away",
    fix="wait until they are back before you upgrade",
)
NO_QUORUM_STATUS: Final = Rule(
    check="broker quorum",
    level="unknown",
    wrong="the operator does not tell the quorum",
    fix="upgrade the cluster operator; until then ask with rabbitmq-diagnostics check_if_node_is_quorum_critical",
)
CONDITION: Final = Rule(
    check="broker object",
    level="broken",
    wrong="AllReplicasReady or ReconcileSuccess of the RabbitmqCluster is False",
    fix="kubectl describe the RabbitmqCluster and its pods",
)
UNSURE: Final = Rule(
    check="broker object",
    level="note",
    wrong="the operator is still at work on the RabbitmqCluster, or warns of it",
    fix="wait; else kubectl describe the RabbitmqCluster",
)
ONE_NODE: Final = Rule(
    check="broker size",
    level="note",
    wrong="the broker has fewer than three nodes although servers or workers are several or autoscaled: each restart "
    "of its node is an outage, and its volume the only copy of the jobs",
    fix="set replicas: 3 (values-production.yaml of the chart warren-rabbitmq)",
)
NO_VOLUME: Final = Rule(
    check="broker storage",
    level="note",
    wrong="the broker has no volume: its jobs are gone with its pods",
    fix="set persistence.storage of the RabbitmqCluster to a size (only possible for a new one)",
)
TOPOLOGY_NOT_READY: Final = Rule(
    check="topology objects",
    level="broken",
    wrong="an object of the topology is not Ready: the broker lacks what it describes",
    fix="kubectl describe it; the topology operator says what the broker refused",
)
DECLARED_WIDE: Final = Rule(
    check="declared permissions",
    level="note",
    wrong="a Permission lets its user configure, or a User has the tag administrator",
    fix="leave configure empty and make the topology by the chart warren-topology; take the tag away",
)


def of_operators(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether the operators are there and run."""
    if BROKERS in snapshot.missing:
        yield NO_CLUSTER_OPERATOR.found("no CustomResourceDefinition rabbitmqclusters.rabbitmq.com")
    if snapshot.missing.intersection(TOPOLOGY):
        yield NO_TOPOLOGY_OPERATOR.found("no CustomResourceDefinitions of the messaging topology operator")
    running = {
        one["metadata"]["name"]: one.get("status", {}).get("readyReplicas", 0) for one in snapshot.operators or ()
    }
    down = [name for name, ready in running.items() if not ready]
    if down:
        yield OPERATOR_DOWN.found(some(down))
    elif len(running) >= len(OPERATORS):
        yield ok("operators", f"{some(running)} run")


def of_brokers(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge the broker's object, and the topology's objects."""
    if snapshot.saw(BROKERS) and not snapshot.of(BROKERS):
        yield NO_BROKER.found(f"none in namespace {snapshot.namespace}")
    for broker in snapshot.of(BROKERS):
        yield from _of_status(broker)
        yield from _of_size(broker, snapshot)
    yield from of_topology(snapshot)
    yield from of_declared_rights(snapshot)


def of_topology(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge whether all objects of the topology became true."""
    objects = [one for kind in TOPOLOGY for one in snapshot.of(kind)]
    late = [(one, _ready(one)) for one in objects if _ready(one) is not None]
    for one, why in late:
        yield TOPOLOGY_NOT_READY.found(f"{one['kind']} {one['metadata']['name']}: {why}")
    if objects and not late:
        yield ok("topology objects", f"all {len(objects)} are Ready")


def of_declared_rights(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge what users are to be allowed."""
    wide = [
        f"Permission {one['metadata']['name']} (configure {configure})"
        for one in snapshot.of(PERMISSIONS)
        if (configure := one["spec"].get("permissions", {}).get("configure", "")) not in _NOTHING
    ]
    wide += [
        f"User {one['metadata']['name']} (tag administrator)"
        for one in snapshot.of(USERS)
        if "administrator" in one["spec"].get("tags", [])
    ]
    if wide:
        yield DECLARED_WIDE.found(some(wide))
    elif snapshot.of(PERMISSIONS):
        yield ok("declared permissions", f"{len(snapshot.of(PERMISSIONS))}, none may configure")


def _of_status(broker: Object) -> Iterator[Finding]:
    name, status = broker["metadata"]["name"], broker.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", [])}
    if not conditions or status.get("observedGeneration", 0) < broker["metadata"].get("generation", 0):
        yield UNSEEN_BROKER.found(f"{name}: its operator has not looked at its last change")
    yield _of_quorum(name, status.get("quorumStatus", ""))
    bad = False
    for kind in ("AllReplicasReady", "ReconcileSuccess", "NoWarnings"):
        condition = conditions.get(kind, {})
        state = condition.get("status", "Unknown")
        if conditions and state != "True":
            bad = True
            rule = CONDITION if state == "False" and kind != "NoWarnings" else UNSURE
            yield rule.found(f"{name}: {kind} is {state}: {condition.get('message') or condition.get('reason', '')}")
    if conditions and not bad:
        yield ok("broker object", f"{name}: all replicas are ready, reconciled, without warnings")


def _of_quorum(name: str, quorum: str) -> Finding:
    if quorum == "ok":
        return ok("broker quorum", f"{name}: ok, it may be upgraded")
    if not quorum:
        return NO_QUORUM_STATUS.found(f"{name} has no status.quorumStatus")
    rule = NODES_AWAY if quorum.startswith("ok") else QUORUM
    return rule.found(f"{name}: {quorum}")


def _of_size(broker: Object, snapshot: Snapshot) -> Iterator[Finding]:
    name, spec = broker["metadata"]["name"], broker["spec"]
    replicas = spec.get("replicas", 1)
    scaled = scalers_by_target(snapshot).keys() & {workload.name for workload in snapshot.workloads}
    several = [workload.title for workload in snapshot.workloads if workload.replicas > 1 or workload.name in scaled]
    if replicas < 3 and several:
        yield ONE_NODE.found(f"{name} has {replicas} for {some(several)}")
    if str(spec.get("persistence", {}).get("storage", "")) in ("0", "0Gi"):
        yield NO_VOLUME.found(f"{name} keeps its data in an emptyDir")


def _ready(one: Object) -> str | None:
    """Return why an object of the topology is not Ready; None when it is."""
    conditions = one.get("status", {}).get("conditions", [])
    ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
    if ready is None:
        return "the topology operator has not looked at it"
    return None if ready["status"] == "True" else str(ready.get("message") or ready.get("reason", "not Ready"))
