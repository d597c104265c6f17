"""Selectors, budgets, autoscalers, network policies and monitors: each finds exactly what it is for."""

from __future__ import annotations

from typing import Any

import pytest

from manifests import wiring
from manifests.charts import CHARTS, Chart, render
from manifests.documents import Manifest, of_kind, selects

WARREN = next(chart for chart in CHARTS if chart.name == "warren")
BROKER = next(chart for chart in CHARTS if chart.name == "warren-rabbitmq")
EVERYTHING: dict[str, Any] = {
    "networkPolicy": {"enabled": True, "prometheusNamespace": "monitoring"},
    "monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
    "server": {"auth": {"existingSecret": {"name": "tokens", "readKey": "read"}}},
    "workerSets": {"default": {"queues": ["default"]}, "mail": {"queues": ["mail=5"]}},
}


def test_every_values_file_is_wired(chart: Chart, case: str) -> None:
    assert wiring.faults(render(chart, chart.cases()[case])) == []


def test_monitors_of_the_release_read_every_pod_once_on_the_port_that_serves_metrics() -> None:
    assert wiring.scraped(render(WARREN, EVERYTHING)) == [
        ("Deployment/warren-server", 8000, "/metrics"),
        ("Deployment/warren-worker-default", 9100, "/metrics"),
        ("Deployment/warren-worker-mail", 9100, "/metrics"),
    ]


@pytest.mark.parametrize("monitor", ["serviceMonitor", "podMonitor"])
@pytest.mark.parametrize(("tls", "port"), [({}, 15692), ({"secretName": "t"}, 15691)])
def test_monitors_of_the_broker_read_totals_and_details_of_every_broker(
    monitor: str, tls: dict[str, Any], port: int
) -> None:
    manifests = render(BROKER, {"tls": tls, "monitoring": {monitor: {"enabled": True}}})

    assert wiring.scraped(manifests) == [
        ("RabbitmqCluster/warren-rabbitmq", port, "/metrics"),
        ("RabbitmqCluster/warren-rabbitmq", port, "/metrics/detailed"),
    ]


def test_each_component_has_a_policy_of_its_own_that_denies_by_default() -> None:
    manifests = render(WARREN, EVERYTHING)

    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")}
    components = [group for group in wiring.groups(manifests) if not group.hook]

    assert len(components) == 3
    for group in components:
        mine = [name for name, spec in policies.items() if selects(spec["podSelector"], group.labels)]
        assert mine == [group.owner.removeprefix("Deployment/")]
        assert sorted(policies[mine[0]]["policyTypes"]) == ["Egress", "Ingress"]
    workers = policies["warren-worker-mail"]
    assert workers["ingress"] == [
        {
            "ports": [{"protocol": "TCP", "port": 9100}],
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        }
    ]
    assert allowed(workers["egress"]) == {("UDP", 53), ("TCP", 53), ("TCP", 5672)}
    assert allowed(policies["warren-server"]["egress"]) == allowed(workers["egress"]) | {("TCP", 15672)}


def test_the_policy_of_workers_leads_to_the_brokers_of_the_other_chart() -> None:
    [brokers] = wiring.groups(render(BROKER, {}))
    spec = next(
        policy["spec"]
        for policy in of_kind(render(WARREN, EVERYTHING), "NetworkPolicy")
        if policy["metadata"]["name"] == "warren-worker-default"
    )

    peers = [
        peer for rule in spec["egress"] if {"protocol": "TCP", "port": 5672} in rule["ports"] for peer in rule["to"]
    ]

    assert [selects(peer["podSelector"], brokers.labels) for peer in peers] == [True]


def allowed(egress: list[Manifest]) -> set[tuple[str, int]]:
    """Return protocols and ports that rules let out."""
    return {(port["protocol"], port["port"]) for rule in egress for port in rule["ports"]}


def deployment(name: str, labels: dict[str, str], **spec: Any) -> Manifest:
    """Return a Deployment of pods with a port."""
    container = {"name": "main", "ports": [{"name": "http", "containerPort": 80}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }
        | spec,
    }


def other(kind: str, spec: dict[str, Any], name: str = "o") -> Manifest:
    """Return an object of another kind."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


COMPONENT = "app.kubernetes.io/component"
A = deployment("a", {COMPONENT: "a"})
B = deployment("b", {COMPONENT: "b"})
TO_A = {"matchLabels": {COMPONENT: "a"}}
TO_BOTH = {"matchExpressions": [{"key": COMPONENT, "operator": "In", "values": ["a", "b"]}]}
DENY = {"policyTypes": ["Ingress", "Egress"]}
POLICY_A = other("NetworkPolicy", {"podSelector": TO_A} | DENY, "a")
POLICY_B = other("NetworkPolicy", {"podSelector": {"matchLabels": {COMPONENT: "b"}}} | DENY, "b")
SCALED = {"scaleTargetRef": {"name": "a"}}
AUTO = deployment("a", {COMPONENT: "a"})
del AUTO["spec"]["replicas"]

MISWIRED = [
    ([A, deployment("b", {COMPONENT: "a"})], "Deployment/a selects the pods of Deployment/a, Deployment/b"),
    ([deployment("c", {"app.kubernetes.io/version": "1"})], "selects by app.kubernetes.io/version, which may change"),
    ([A, other("Service", {"selector": {COMPONENT: "c"}, "ports": []})], "Service/o selects the pods of nobody"),
    (
        [A, other("Service", {"selector": {COMPONENT: "a"}, "ports": [{"port": 1, "targetPort": "web"}]})],
        "Service/o leads to port web, which Deployment/a does not have",
    ),
    (
        [A, B, other("PodDisruptionBudget", {"selector": TO_BOTH, "maxUnavailable": 1})],
        "guards the pods of Deployment/a, Deployment/b",
    ),
    ([A, other("PodDisruptionBudget", {"selector": TO_A, "minAvailable": 1})], "says minAvailable"),
    (
        [A, *(other("PodDisruptionBudget", {"selector": TO_A}, name) for name in "xy")],
        "Deployment/a is guarded by 2 budgets",
    ),
    ([A, other("ScaledObject", SCALED)], "a is autoscaled and says replicas"),
    (
        [AUTO, other("ScaledObject", SCALED), other("HorizontalPodAutoscaler", SCALED)],
        "a has 2 autoscalers",
    ),
    ([B, other("ScaledObject", SCALED)], "ScaledObject/o scales a, which is not there"),
    ([AUTO], "a says no replicas and nothing scales it"),
    ([A, B, POLICY_A], "Deployment/b has no default deny for Egress, Ingress"),
    ([A, B, other("NetworkPolicy", {"podSelector": TO_BOTH} | DENY)], "is for the pods of Deployment/a, Deployment/b"),
    ([A, other("NetworkPolicy", {"podSelector": {"matchLabels": {"x": "y"}}})], "is for the pods of nobody"),
    ([A, other("NetworkPolicy", {"podSelector": TO_A, "egress": [{}]} | DENY)], "allows every egress"),
    ([A, other("NetworkPolicy", {"podSelector": TO_A, "ingress": [{"from": []}]} | DENY)], "lets in on every port"),
    (
        [A, other("NetworkPolicy", {"podSelector": TO_A, "ingress": [{"ports": [{"port": 81}]}]} | DENY)],
        "lets in on port 81, which Deployment/a does not have",
    ),
]


def test_what_is_wired_rightly_has_no_fault() -> None:
    service = other("Service", {"selector": {COMPONENT: "a"}, "ports": [{"port": 1, "targetPort": "http"}]})
    budget = other("PodDisruptionBudget", {"selector": TO_A, "maxUnavailable": 1})

    assert wiring.faults([A, B, service, budget, POLICY_A, POLICY_B]) == []
    assert wiring.faults([AUTO, other("ScaledObject", SCALED)]) == []


@pytest.mark.parametrize(("manifests", "said"), MISWIRED, ids=[said for _, said in MISWIRED])
def test_what_is_wired_wrongly_is_found(manifests: list[Manifest], said: str) -> None:
    found = wiring.faults(manifests)

    assert any(said in fault for fault in found), found


@pytest.mark.parametrize(
    ("operator", "values", "labels", "chosen"),
    [
        ("In", ["a"], {"x": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {"x": "a"}, False),
        ("NotIn", ["a"], {}, True),
        ("Exists", None, {"x": "a"}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {"x": "a"}, False),
        ("DoesNotExist", None, {}, True),
    ],
)
def test_expressions_select_as_kubernetes_does(
    operator: str, values: list[str] | None, labels: dict[str, str], chosen: bool
) -> None:
    assert selects({"matchExpressions": [{"key": "x", "operator": operator, "values": values}]}, labels) is chosen


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(ValueError, match="'Like'"):
        selects({"matchExpressions": [{"key": "x", "operator": "Like"}]}, {})
