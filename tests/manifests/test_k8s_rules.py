"""The kustomize tree by the rules that the charts are held to."""

from __future__ import annotations

import pytest

from manifests import restricted, schemas, wiring
from manifests.documents import identity, pods
from render_k8s import OVERLAYS, TREE, build


@pytest.mark.parametrize("version", schemas.VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_what_the_cluster_takes(name: str, version: str) -> None:
    manifests = build(TREE / "overlays" / name)

    assert [fault for manifest in manifests for fault in schemas.faults(manifest, version)] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_has_pods_that_the_restricted_profile_admits(name: str) -> None:
    found = pods(build(TREE / "overlays" / name))

    assert [f"{identity(owner)}: {rule}" for owner, pod in found for rule in restricted.violations(pod)] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_wired(name: str) -> None:
    assert wiring.faults(build(TREE / "overlays" / name)) == []


def test_monitors_of_production_read_every_pod_on_the_port_that_serves_metrics() -> None:
    assert wiring.scraped(build(TREE / "overlays" / "production")) == [
        ("Deployment/warren-server", 8000, "/metrics"),
        ("Deployment/warren-worker-default", 9100, "/metrics"),
        ("RabbitmqCluster/warren-rabbitmq", 15691, "/metrics"),
        ("RabbitmqCluster/warren-rabbitmq", 15691, "/metrics/detailed"),
    ]
