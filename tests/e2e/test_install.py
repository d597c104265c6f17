"""From an empty namespace to a finished job, by three Helm commands; then what stands there."""

from __future__ import annotations

import re

import pytest

from e2e.commands import helm, kubectl
from e2e.installation import Installation, Stopwatch
from waiting import eventually


def test_three_installs_to_a_finished_job_within_four_minutes(
    installation: Installation, stopwatch: Stopwatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nthree helm install commands to a finished job: {stopwatch}")

    assert stopwatch.seconds <= 240
    labels = kubectl("get", "namespace", installation.namespace.name, "--output", "jsonpath={.metadata.labels}")
    assert '"pod-security.kubernetes.io/enforce":"restricted"' in labels
    assert not installation.restarts()


@pytest.mark.parametrize("version", ["helm3", "helm4"])
def test_the_charts_own_tests_pass(
    installation: Installation, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = helm(version, "--namespace", installation.namespace.name, "test", "warren", "--timeout", "3m")

    passed = re.findall(r"TEST SUITE:\s+(\S+)[^:]*(?:\n.*?)*?Phase:\s+(\S+)", said)
    pods = dict(found for found in passed if found[0].startswith("warren-test-"))
    assert set(pods.values()) == {"Succeeded"}, said
    assert {"warren-test-round-trip", "warren-test-metrics", "warren-test-refused", "warren-test-drain"} <= set(pods)
    told = installation.namespace.kubectl("logs", "warren-test-drain", "--container", "test", "--tail", "1")
    assert "worker exited 0; 24 of 24 jobs succeeded at the first attempt" in told
    with capsys.disabled():
        print(f"\n{version} test: {told.strip()}")


def test_broker_and_topology_are_the_operators_work(installation: Installation) -> None:
    namespace = installation.namespace

    (broker,) = namespace.items("rabbitmqclusters.rabbitmq.com")
    (statefulset,) = namespace.items("statefulsets")
    queues = {one["spec"]["name"]: one for one in namespace.items("queues.rabbitmq.com")}

    assert broker["spec"]["replicas"] == 1
    assert statefulset["metadata"]["ownerReferences"][0]["kind"] == "RabbitmqCluster"
    assert {"warren.q.default", "warren.dead", "warren.events"} <= queues.keys()
    installation.wait_for_topology()


def test_workers_follow_kubectl_scale(installation: Installation) -> None:
    namespace = installation.namespace
    namespace.kubectl("scale", "deployment/warren-worker-default", "--replicas=2")
    installation.wait_ready("warren-worker-default")

    with installation.client() as client:
        # Two workers of ten slots each: more than one can do in that time.
        jobs = [client.submit("helm_test.rest", {"seconds": 4}) for _ in range(20)]
        done = [client.wait(job, timeout_seconds=60) for job in jobs]
    workers = {job.attempts[-1].worker for job in done}

    namespace.kubectl("scale", "deployment/warren-worker-default", "--replicas=1")
    selector = "app.kubernetes.io/component=worker"
    eventually(lambda: len(installation.pods(selector)) == 1, 60, 0.5)
    assert [job.state for job in done] == ["succeeded"] * 20
    assert len(workers) == 2, workers
