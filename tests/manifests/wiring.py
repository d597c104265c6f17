"""How rendered objects find each other: selectors, budgets, autoscalers, network policies and monitors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from manifests.documents import Manifest, identity, is_hook, labels, of_kind, pod_template, selects

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
STABLE = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "warren.dev/worker-set",
}
"""Labels that selectors may ask for: none of these changes over a release's life."""


UNDECLARED = (25672,)
"""Ports that brokers listen on and the operator does not declare: distribution."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """The pods that one object makes, alike in labels and ports."""

    owner: str
    labels: dict[str, str]
    ports: dict[str, int]
    hook: bool = False

    @property
    def component(self) -> tuple[str | None, ...]:
        """What tells these pods from others of the release."""
        return tuple(self.labels.get(key) for key in sorted(STABLE))


def groups(manifests: Iterable[Manifest]) -> list[Group]:
    """Return the pods of a render, with those that the RabbitMQ cluster operator makes of a RabbitmqCluster."""
    found = []
    for manifest in manifests:
        if manifest["kind"] == "RabbitmqCluster":
            found.append(_brokers(manifest))
        elif (pod := pod_template(manifest)) is not None:
            ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
            found.append(
                Group(
                    owner=str(identity(manifest)),
                    labels=labels(pod),
                    ports={port.get("name", str(port["containerPort"])): port["containerPort"] for port in ports},
                    hook=is_hook(manifest),
                )
            )
    return found


def _brokers(cluster: Manifest) -> Group:
    """Foretell the pods of a RabbitmqCluster (cluster-operator, internal/metadata/label.go and statefulset.go)."""
    name = cluster["metadata"]["name"]
    own = {key: value for key, value in labels(cluster).items() if not key.startswith("app.kubernetes.io")}
    tls = cluster["spec"].get("tls") or {}
    ports = {"epmd": 4369}
    if not tls.get("disableNonTLSListeners"):
        ports |= {"amqp": 5672, "management": 15672, "prometheus": 15692}
    if tls.get("secretName"):
        ports |= {"amqps": 5671, "management-tls": 15671, "prometheus-tls": 15691}
    made = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "rabbitmq",
        "app.kubernetes.io/part-of": "rabbitmq",
    }
    return Group(owner=str(identity(cluster)), labels=made | own, ports=ports)


def faults(manifests: Iterable[Manifest]) -> list[str]:
    """Return what is wired wrongly in one render."""
    manifests = list(manifests)
    return [
        *_selectors(manifests),
        *_services(manifests),
        *_budgets(manifests),
        *_autoscalers(manifests),
        *_policies(manifests),
    ]


def selectors(manifests: Iterable[Manifest]) -> dict[str, Manifest]:
    """Return the selectors that Kubernetes does not let change, by object."""
    return {str(identity(manifest)): manifest["spec"]["selector"] for manifest in of_kind(manifests, *WORKLOADS)}


def _selectors(manifests: list[Manifest]) -> Iterator[str]:
    everyone = groups(manifests)
    for name, selector in selectors(manifests).items():
        chosen = [group.owner for group in everyone if selects(selector, group.labels)]
        if chosen != [name]:
            yield f"{name} selects the pods of {', '.join(chosen) or 'nobody'}"
        if more := (selector.get("matchLabels") or {}).keys() - STABLE:
            yield f"{name} selects by {', '.join(sorted(more))}, which may change"


def _services(manifests: list[Manifest]) -> Iterator[str]:
    everyone = groups(manifests)
    for service in of_kind(manifests, "Service"):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        chosen = [group for group in everyone if selects({"matchLabels": selector}, group.labels)]
        if len(chosen) != 1 or chosen[0].hook:
            owners = ", ".join(group.owner for group in chosen) or "nobody"
            yield f"{identity(service)} selects the pods of {owners}"
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for group in chosen:
                if target not in (*group.ports.keys(), *group.ports.values()):
                    yield f"{identity(service)} leads to port {target}, which {group.owner} does not have"


def _budgets(manifests: list[Manifest]) -> Iterator[str]:
    everyone = [group for group in groups(manifests) if not group.hook]
    covered = []
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        chosen = [group.owner for group in everyone if selects(budget["spec"]["selector"], group.labels)]
        covered += chosen
        if len(chosen) != 1:
            yield f"{identity(budget)} guards the pods of {', '.join(chosen) or 'nobody'}"
        if "minAvailable" in budget["spec"]:
            yield f"{identity(budget)} says minAvailable: with one pod that blocks every drain of a node"
    for owner in sorted(set(covered)):
        if covered.count(owner) > 1:
            yield f"{owner} is guarded by {covered.count(owner)} budgets: Kubernetes then refuses every eviction"


def _autoscalers(manifests: list[Manifest]) -> Iterator[str]:
    workloads = {manifest["metadata"]["name"]: manifest for manifest in of_kind(manifests, "Deployment")}
    scaled: dict[str, list[str]] = {}
    for autoscaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = autoscaler["spec"]["scaleTargetRef"]["name"]
        scaled.setdefault(target, []).append(str(identity(autoscaler)))
        if target not in workloads:
            yield f"{identity(autoscaler)} scales {target}, which is not there"
    named = {
        name
        for role in of_kind(manifests, "Role")
        for rule in role["rules"]
        if rule["resources"] == ["deployments/scale"]
        for name in rule.get("resourceNames") or ["any"]
    }
    ours = {
        name
        for name, workload in workloads.items()
        if (workload["metadata"].get("annotations") or {}).get("warren.dev/autoscaling") == "scaler"
    }
    for name in sorted(ours):
        scaled.setdefault(name, []).append("the chart's scaler")
    if named and named != ours:
        yield f"the scaler may scale {', '.join(sorted(named))} and is to scale {', '.join(sorted(ours)) or 'nothing'}"
    for target, scalers in scaled.items():
        if len(scalers) > 1:
            yield f"{target} has {len(scalers)} autoscalers: {', '.join(scalers)}"
        if "replicas" in (workloads.get(target) or {"spec": {}})["spec"]:
            yield f"{target} is autoscaled and says replicas: each upgrade would undo the autoscaler"
    for name, workload in workloads.items():
        if name not in scaled and "replicas" not in workload["spec"]:
            yield f"{name} says no replicas and nothing scales it"


def _policies(manifests: list[Manifest]) -> Iterator[str]:
    """Yield flaws of network policies: pods of several components, ports that are none, too much, too little."""
    everyone = groups(manifests)
    policies = of_kind(manifests, "NetworkPolicy")
    for policy in policies:
        chosen = [group for group in everyone if selects(policy["spec"]["podSelector"], group.labels)]
        # Hooks may share a policy: they are gone before the release's own pods work.
        if len({(group.hook or group.component) for group in chosen}) != 1:
            owners = ", ".join(group.owner for group in chosen) or "nobody"
            yield f"{identity(policy)} is for the pods of {owners}"
        yield from (f"{identity(policy)} {flaw}" for flaw in _openings(policy["spec"], chosen))
    for group in everyone if policies else []:
        needed = {"Ingress"} if group.owner.startswith("RabbitmqCluster/") else {"Ingress", "Egress"}
        if missing := needed - _closed(group, policies):
            yield f"{group.owner} has no default deny for {', '.join(sorted(missing))}"


def _openings(spec: Manifest, chosen: list[Group]) -> Iterator[str]:
    """Yield what a policy lets through that it should not, or that leads nowhere."""
    for direction in ("ingress", "egress"):
        if {} in (spec.get(direction) or []):
            yield f"allows every {direction}"
    for rule in spec.get("ingress") or []:
        if not rule.get("ports"):
            yield "lets in on every port"
        for port in (port["port"] for port in rule.get("ports") or [] if "endPort" not in port):
            for group in chosen:
                if port not in (*group.ports, *group.ports.values(), *UNDECLARED):
                    yield f"lets in on port {port}, which {group.owner} does not have"


def _closed(group: Group, policies: list[Manifest]) -> set[str]:
    """Return the directions in which policies deny what they do not allow."""
    return {
        direction
        for policy in policies
        if selects(policy["spec"]["podSelector"], group.labels)
        for direction in policy["spec"].get("policyTypes") or ["Ingress"]
    }


def scraped(manifests: Iterable[Manifest]) -> list[tuple[str, int, str]]:
    """Return what ServiceMonitors and PodMonitors have Prometheus read: pods' owner, port and path, sorted."""
    manifests = list(manifests)
    everyone = groups(manifests)
    found = [
        (group.owner, group.ports[endpoint["port"]], endpoint.get("path", "/metrics"))
        for monitor in of_kind(manifests, "PodMonitor")
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        for group in everyone
        if selects(monitor["spec"]["selector"], group.labels) and endpoint["port"] in group.ports
    ]
    found += [
        (owner, port, endpoint.get("path", "/metrics"))
        for monitor in of_kind(manifests, "ServiceMonitor")
        for endpoint in monitor["spec"]["endpoints"]
        for owner, port in _behind(monitor["spec"]["selector"], endpoint["port"], manifests)
    ]
    return sorted(found)


def _behind(selector: Manifest, name: str, manifests: list[Manifest]) -> Iterator[tuple[str, int]]:
    """Yield pods and ports behind the port of this name of the Services that a monitor selects."""
    everyone = groups(manifests)
    for service in of_kind(manifests, "Service"):
        if not selects(selector, labels(service)):
            continue
        for port in (port for port in service["spec"]["ports"] if port.get("name") == name):
            for group in everyone:
                if selects({"matchLabels": service["spec"]["selector"]}, group.labels):
                    target = port.get("targetPort", port["port"])
                    yield group.owner, group.ports.get(target, target)
    for cluster in of_kind(manifests, "RabbitmqCluster"):
        # The operator's Service has the labels and the names of ports of its pods.
        brokers = _brokers(cluster)
        if selects(selector, brokers.labels) and name in brokers.ports:
            yield brokers.owner, brokers.ports[name]
