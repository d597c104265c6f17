"""Look at an installation on a cluster: its objects first, then its broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import SecretStr

from warren.cli import findings
from warren.cli.broker import Expected, look
from warren.cli.cluster.connect import connect
from warren.cli.cluster.operator_findings import of_brokers, of_operators
from warren.cli.cluster.pod_findings import of_pods
from warren.cli.cluster.port import BROKERS, DEPLOYMENTS, SECRETS, USERS, VHOSTS, Cluster, Object, rules
from warren.cli.cluster.scaling_findings import of_autoscalers
from warren.cli.cluster.snapshot import Snapshot, read
from warren.cli.cluster.workload import WORKER, contents, environment, login
from warren.cli.cluster.workload_findings import of_workloads
from warren.cli.finding import Finding, Rule
from warren.envelope import QUEUE_NAME
from warren.errors import KubernetesError, KubernetesForbidden, WarrenError
from warren.settings import BrokerSettings, with_credentials

MANAGEMENT_PORT: Final = 15672

UNREACHED: Final = Rule(
    check="kubernetes",
    level="broken",
    wrong="the cluster does not answer, or there is no way to ask it",
    fix="check kubectl, KUBECONFIG and --context (kubectl get namespaces must work); in a pod, mount the token of a "
    "service account that may read",
)
FORBIDDEN: Final = Rule(
    check="kubernetes",
    level="unknown",
    wrong="the account may not look at some kinds of objects",
    fix="bind it a Role with {rules}",
)
HIDDEN_OPERATORS: Final = Rule(
    check="operators",
    level="unknown",
    wrong="the account may not look for the operators in all namespaces",
    fix="nothing, when the broker's and the topology's objects are well; else bind it a ClusterRole with {rules}",
)
BROKER_OUTSIDE: Final = Rule(
    check="broker",
    level="unknown",
    wrong="the broker is not run by the operator in this namespace, so it was not asked",
    fix="look from a pod, with its own login: kubectl exec deploy/{server} -- warren doctor",
)
BROKER_HIDDEN: Final = Rule(
    check="broker",
    level="unknown",
    wrong="no login for the broker can be read, so it was not asked",
    fix="let the account get the Secret of the default user or of a user with the tag monitoring; or look from a pod: "
    "kubectl exec deploy/{server} -- warren doctor",
)
BROKER_UNREACHED: Final = Rule(
    check="broker",
    level="unknown",
    wrong="the broker's management API cannot be reached through the cluster, or only with TLS",
    fix="let the account create pods/portforward and see that the broker's pods are ready; or look from a pod: "
    "kubectl exec deploy/{server} -- warren doctor",
)


def examine(*, namespace: str | None, context: str | None, release: str | None) -> Iterator[Finding]:
    """Look at an installation; what cannot be looked at is a finding too."""
    try:
        with connect(namespace=namespace, context=context) as cluster:
            snapshot = read(cluster, release)
            yield from of_snapshot(snapshot)
            if snapshot.workloads or snapshot.of(BROKERS):
                yield from _broker(cluster, snapshot)
    except KubernetesError as error:
        yield UNREACHED.found(str(error))


def of_snapshot(snapshot: Snapshot) -> Iterator[Finding]:
    """Judge all that was read. Pure."""
    if snapshot.forbidden:
        kinds = sorted(snapshot.forbidden, key=lambda kind: kind.name)
        yield FORBIDDEN.found(f"may not look at {', '.join(kind.name for kind in kinds)}", rules=rules(kinds))
    if snapshot.operators is None:
        yield HIDDEN_OPERATORS.found("may not look for Deployments in all namespaces", rules=rules([DEPLOYMENTS]))
    if snapshot.saw(DEPLOYMENTS):
        yield from of_workloads(snapshot)
    if snapshot.workloads:
        yield from of_autoscalers(snapshot)
    if snapshot.workloads or snapshot.of(BROKERS):
        yield from of_pods(snapshot)
    yield from of_operators(snapshot)
    yield from of_brokers(snapshot)


def _broker(cluster: Cluster, snapshot: Snapshot) -> Iterator[Finding]:
    server = _server(snapshot)
    broker = _chosen(snapshot)
    if broker is None:
        yield BROKER_OUTSIDE.found("no RabbitmqCluster here that the workloads use", server=server)
        return
    credentials = _credentials(cluster, broker, snapshot.of(USERS))
    if credentials is None:
        yield BROKER_HIDDEN.found("no Secret with a login can be read", server=server)
        return
    if broker["spec"].get("tls", {}).get("disableNonTLSListeners"):
        yield BROKER_UNREACHED.found("the management API listens with TLS only", server=server)
        return
    try:
        with cluster.reach(broker["metadata"]["name"], MANAGEMENT_PORT) as address:
            settings = _settings(address, _vhost(snapshot), credentials)
            yield from look(settings, _expected(snapshot))
    except KubernetesError as error:
        yield BROKER_UNREACHED.found(str(error), server=server)
    except WarrenError as error:
        yield findings.NO_MANAGEMENT.found(str(error))


def _chosen(snapshot: Snapshot) -> Object | None:
    """Return the broker's object that the workloads use; without workloads the only one."""
    brokers = {broker["metadata"]["name"]: broker for broker in snapshot.of(BROKERS)}
    hosts = {host for known in _environments(snapshot) if (host := known.get("WARREN_AMQP_HOST"))}
    for name, broker in brokers.items():
        local = {name, f"{name}.{snapshot.namespace}", f"{name}.{snapshot.namespace}.svc"}
        if any(host in local or host.startswith(f"{name}.{snapshot.namespace}.svc.") for host in hosts):
            return broker
    return next(iter(brokers.values())) if len(brokers) == 1 and not hosts else None


def _credentials(cluster: Cluster, broker: Object, users: Iterable[Object]) -> tuple[str, str] | None:
    """Return the first login that can be read: the operator's own, or one that may watch."""
    default = broker.get("status", {}).get("defaultUser", {}).get("secretReference", {}).get("name")
    watching = [
        f"{user['metadata']['name']}-user-credentials"
        for user in users
        if {"monitoring", "administrator"} & set(user["spec"].get("tags", []))
    ]
    for name in (default, *watching):
        try:
            found = cluster.named(SECRETS, [name]) if name else []
        except KubernetesForbidden:
            continue
        held = contents(found[0]) if found else {}
        if held.get("username") and held.get("password"):
            return held["username"], held["password"]
    return None


def _settings(address: str, vhost: str, credentials: tuple[str, str]) -> BrokerSettings:
    """Make the settings for the management API alone; nothing of this process's environment goes in."""
    host = address.rpartition(":")[0]
    amqp = f"amqp://{host}/{vhost.replace('/', '%2F')}"
    return BrokerSettings.model_construct(
        url=SecretStr(with_credentials(amqp, *credentials)),
        management_url=SecretStr(with_credentials(f"http://{address}", *credentials)),
    )


def _vhost(snapshot: Snapshot) -> str:
    """Return the virtual host that the workloads use, else the only one that is declared, else the broker's own."""
    used = [known["WARREN_AMQP_VHOST"] for known in _environments(snapshot) if known.get("WARREN_AMQP_VHOST")]
    declared = [str(vhost["spec"]["name"]) for vhost in snapshot.of(VHOSTS)]
    return next(iter([*used, *declared]), "/")


def _expected(snapshot: Snapshot) -> Expected:
    queues = {
        name
        for workload, known in zip(snapshot.workloads, _environments(snapshot), strict=True)
        if workload.component == WORKER
        for part in known.get("WARREN_WORKER_QUEUES", "").split(",")
        if QUEUE_NAME.fullmatch(name := part.partition("=")[0].strip())
    }
    logins = {login(workload, snapshot.data) for workload in snapshot.workloads}
    return Expected(worked_on=sorted(queues), logins=sorted(name for name in logins if name))


def _environments(snapshot: Snapshot) -> list[dict[str, str]]:
    return [environment(workload, snapshot.data) for workload in snapshot.workloads]


def _server(snapshot: Snapshot) -> str:
    """Return the name of a server's Deployment, for commands that are told."""
    names = [workload.name for workload in snapshot.workloads if workload.component == "server"]
    return names[0] if names else "warren-server"
