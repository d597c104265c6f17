"""All three releases go and come back; the jobs that waited are still there, and run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.installation import Installation, Stopwatch
from waiting import eventually

JOBS = 50


@pytest.fixture
def other_helm(installation: Installation) -> Iterator[None]:
    """Go on with Helm 4."""
    installation.helm = "helm4"
    yield
    installation.helm = "helm3"


def test_pending_jobs_outlive_uninstall_and_run_after_reinstall(
    installation: Installation, other_helm: None, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = installation.namespace
    namespace.kubectl("scale", "deployment/warren-worker-default", "--replicas=0")
    eventually(lambda: not installation.pods("app.kubernetes.io/component=worker"), 60, 0.5)
    with installation.client() as client:
        jobs = [client.submit("helm_test.echo", {"text": f"pending {number}"}) for number in range(JOBS)]
        states = {client.job(job.id).state for job in jobs}
    assert states == {"queued"}

    installation.uninstall("warren", "topology", "rabbitmq")

    assert namespace.releases() == []
    kept = namespace.kubectl("get", "rabbitmqclusters.rabbitmq.com,persistentvolumeclaims", "--output", "name").split()
    assert "rabbitmqcluster.rabbitmq.com/warren-rabbitmq" in kept
    assert "persistentvolumeclaim/warren-server-data" in kept

    watch = Stopwatch()
    installation.install_all()
    watch.lap("all ready")
    with installation.client() as client:
        done = [client.wait(job, timeout_seconds=60) for job in jobs]
    watch.lap(f"{JOBS} pending jobs done")

    with capsys.disabled():
        print(f"\nreinstall by Helm 4: {watch}")
    assert [(job.state, job.attempt) for job in done] == [("succeeded", 1)] * JOBS
    assert [job.result for job in done] == [f"pending {number}" for number in range(JOBS)]
