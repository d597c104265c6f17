"""Schemas: what the charts render is what clusters take, and the check refuses what they do not."""

from __future__ import annotations

from typing import Any

import pytest

from manifests.charts import Chart, render
from manifests.schemas import NEWEST, OLDEST, VERSIONS, UnknownKindError, close, faults

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "x"},
    "spec": {"ports": [{"port": 80}]},
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_values_file_renders_what_the_cluster_takes(chart: Chart, case: str, version: str) -> None:
    manifests = render(chart, chart.cases()[case], kubernetes=version)

    assert manifests
    assert [fault for manifest in manifests for fault in faults(manifest, version)] == []


def test_the_newest_kubernetes_is_newer_than_the_oldest() -> None:
    assert tuple(map(int, NEWEST.split("."))) > tuple(map(int, OLDEST.split(".")))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": {"ports": [{"port": 80, "prot": "TCP"}]}}, "'prot' was unexpected"),
        ({"spec": {"ports": [{"port": "80"}]}}, '"80" is not of type'),
        ({"spec": {"ports": [{}]}}, '"port" is a required property'),
        ({"metadata": {"name": "x", "label": {}}}, "'label' was unexpected"),
        ({"metadata": {"name": "x", "labels": {"on": True}}}, "true is not of type"),
    ],
)
def test_a_wrong_field_of_kubernetes_is_refused(version: str, change: dict[str, Any], said: str) -> None:
    assert faults(SERVICE, version) == []

    [fault] = faults(SERVICE | change, version)

    assert fault.startswith("Service/x: ")
    assert said in fault


TRIGGER = {"type": "rabbitmq", "metadata": {"queueName": "x"}}
CUSTOM = [
    ("rabbitmq.com/v1beta1", "RabbitmqCluster", {"replicas": 1}),
    ("rabbitmq.com/v1beta1", "Vhost", {"name": "x", "rabbitmqClusterReference": {"name": "x"}}),
    ("keda.sh/v1alpha1", "ScaledObject", {"scaleTargetRef": {"name": "x"}, "triggers": [TRIGGER]}),
    ("keda.sh/v1alpha1", "ScaledJob", {"jobTargetRef": {"template": {}}, "triggers": [TRIGGER]}),
    ("keda.sh/v1alpha1", "TriggerAuthentication", {}),
    ("monitoring.coreos.com/v1", "PodMonitor", {"selector": {}, "podMetricsEndpoints": []}),
    ("monitoring.coreos.com/v1", "ServiceMonitor", {"selector": {}, "endpoints": []}),
    ("monitoring.coreos.com/v1", "PrometheusRule", {"groups": []}),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", {"hostnames": ["x.example.com"]}),
]


@pytest.mark.parametrize(("api_version", "kind", "spec"), CUSTOM, ids=[kind for _, kind, _ in CUSTOM])
def test_an_unknown_field_of_a_custom_kind_is_refused(api_version: str, kind: str, spec: dict[str, Any]) -> None:
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}

    assert faults(manifest, NEWEST) == []
    [fault] = faults(manifest | {"spec": spec | {"sepc": 1}}, NEWEST)
    assert "'sepc' was unexpected" in fault
    [fault] = faults(manifest | {"metadata": {"name": "x", "nam": "x"}}, NEWEST)
    assert "'nam' was unexpected" in fault


def test_a_kind_nobody_has_is_refused() -> None:
    with pytest.raises(UnknownKindError, match=r"no Servise of v1"):
        faults(SERVICE | {"kind": "Servise"}, NEWEST)


def test_an_open_field_of_a_custom_kind_stays_open() -> None:
    schema = {
        "type": "object",
        "properties": {
            "free": {"type": "object", "properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": True},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {}}},
            "none": {"type": "string", "nullable": True},
            "more": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        },
    }

    closed = close(schema)

    assert closed["additionalProperties"] is False
    assert "additionalProperties" not in closed["properties"]["free"]
    assert closed["properties"]["map"]["additionalProperties"]["additionalProperties"] is False
    assert closed["properties"]["none"]["type"] == ["string", "null"]
    assert closed["properties"]["more"] == {"type": "integer", "exclusiveMinimum": 0}
