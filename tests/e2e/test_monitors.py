"""Every pod's metrics, scraped as the monitors on the cluster say, and no pod but those."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.commands import forwarded, serves
from e2e.conftest import MONITORS
from e2e.installation import Installation
from e2e.namespaces import Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What Prometheus would scrape.

    Attributes:
        pod: Name of the pod.
        port: Number of its port.
        path: Path of the metrics.
        params: Query of the request.
        headers: Headers of the request.
    """

    pod: str
    port: int
    path: str
    params: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def monitored(installation: Installation) -> Installation:
    missing = [one for one in MONITORS if not serves(one)]
    if missing:
        pytest.skip(f"the cluster has no {', '.join(missing)}")
    return installation


def target(namespace: Namespace, pod: str, port: int, endpoint: dict[str, Any]) -> Target:
    headers = {}
    if "authorization" in endpoint:
        key = endpoint["authorization"]["credentials"]
        headers["Authorization"] = f"{endpoint['authorization']['type']} {namespace.secret(key['name'])[key['key']]}"
    path, params = endpoint.get("path", "/metrics"), endpoint.get("params", {})
    return Target(pod=pod, port=port, path=path, params=params, headers=headers)


def labels(monitor: dict[str, Any]) -> str:
    selector = monitor["spec"]["selector"]
    assert selector.keys() == {"matchLabels"}
    return ",".join(f"{key}={value}" for key, value in selector["matchLabels"].items())


def of_service_monitors(namespace: Namespace) -> list[Target]:
    """Follow each ServiceMonitor to Services, their endpoints, and the pods behind."""
    found = []
    for monitor in namespace.items("servicemonitors.monitoring.coreos.com"):
        for service in namespace.items("services", "--selector", labels(monitor)):
            belongs = f"kubernetes.io/service-name={service['metadata']['name']}"
            for piece in namespace.items("endpointslices", "--selector", belongs):
                ports = {port["name"]: port["port"] for port in piece["ports"]}
                found += [
                    target(namespace, one["targetRef"]["name"], ports[endpoint["port"]], endpoint)
                    for endpoint in monitor["spec"]["endpoints"]
                    if endpoint["port"] in ports
                    for one in piece["endpoints"]
                ]
    return found


def of_pod_monitors(namespace: Namespace) -> list[Target]:
    """Follow each PodMonitor to pods, and to the containers' ports of that name."""
    return [
        target(namespace, pod["metadata"]["name"], port["containerPort"], endpoint)
        for monitor in namespace.items("podmonitors.monitoring.coreos.com")
        for pod in namespace.items("pods", "--selector", labels(monitor))
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if port.get("name") == endpoint["port"]
    ]


def test_the_monitors_select_every_pod_that_runs_and_no_other(monitored: Installation) -> None:
    namespace = monitored.namespace
    running = {
        pod["metadata"]["name"]: pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for pod in namespace.items("pods")
        if pod["status"]["phase"] == "Running"
    }

    found = [*of_service_monitors(namespace), *of_pod_monitors(namespace)]

    assert sorted(set(running.values())) == ["rabbitmq", "server", "worker"]
    assert {one.pod for one in found} == running.keys()
    # The broker has two pages; every other pod is scraped once.
    paths = [(one.pod, one.path) for one in found]
    assert len(paths) == len(set(paths))
    assert len(paths) == len(running) + list(running.values()).count("rabbitmq")


def test_the_metrics_of_every_pod_parse(monitored: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    namespace = monitored.namespace
    wanted = {
        "server": "warren_broker_connected",
        "worker": "warren_worker_slots",
        "rabbitmq/metrics": "rabbitmq_connections",
        "rabbitmq/metrics/detailed": "rabbitmq_detailed_queue_messages_ready",
    }
    seen = {}

    for one in (*of_service_monitors(namespace), *of_pod_monitors(namespace)):
        with forwarded(namespace.name, f"pod/{one.pod}", one.port) as (port,):
            url = f"http://127.0.0.1:{port}{one.path}"
            answer = httpx.get(url, params=one.params, headers=one.headers, timeout=30, trust_env=False)
        assert answer.status_code == 200, f"{one}: {answer.text}"
        families = {family.name for family in text_string_to_metric_families(answer.text)}
        component = namespace.get("pod", one.pod)["metadata"]["labels"]["app.kubernetes.io/component"]
        name = component + one.path if component == "rabbitmq" else component
        assert wanted[name] in families, sorted(families)
        seen[name] = len(families)

    assert seen.keys() == wanted.keys()
    with capsys.disabled():
        print(f"\nmetric families that parsed: {seen}")
