"""A pod for each job by KEDA's ScaledJob, and the scaler of the plain manifests."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import yaml

from e2e.autoscaling.jobs import Jobs, pod_of
from e2e.installation import Images, Installation
from e2e.namespaces import Namespace
from e2e.test_kustomize import overlay
from waiting import eventually

ONCE = "warren.dev/worker-set=once"


def test_a_scaled_job_runs_each_job_in_a_pod_that_ends_with_it(scaled: Installation, jobs: Jobs) -> None:
    submitted = jobs.submit("once", 2, 3)

    records = jobs.finished("once", submitted, 120)

    assert {(job["state"], job["attempt"]) for job in records} == {("succeeded", 1)}
    pods = {pod_of(job["attempts"][0]) for job in records}
    assert len(pods) == 2
    eventually(lambda: set(_phases(scaled.namespace).values()) == {"Succeeded"}, 90, 1)
    assert pods <= set(_phases(scaled.namespace))


def _phases(namespace: Namespace) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["status"]["phase"] for pod in namespace.items("pods", "--selector", ONCE)}


def with_scaler(folder: Path) -> None:
    """Add the component `scaler` to an overlay, and name its namespace to it as docs/how-to/kustomize.md says."""
    file = folder / "kustomization.yaml"
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    document["components"].append("../../components/scaler")
    (replacement,) = document["replacements"]
    path = "spec.template.spec.containers.[name=scaler].env.[name={}].value"
    replacement["targets"] += [
        {
            "select": {"kind": "Deployment", "name": "warren-scaler"},
            "fieldPaths": [path.format(variable)],
            "options": {"delimiter": ".", "index": 1},
        }
        for variable in ("WARREN_AMQP_HOST", "WARREN_AMQP_MANAGEMENT_URL")
    ]
    file.write_text(yaml.safe_dump(document), encoding="utf-8")


def test_the_component_scaler_wakes_the_workers_of_the_plain_manifests(
    operators: None, images: Images, tmp_path: Path
) -> None:
    with Namespace("kustomize-scaler") as namespace:
        tokens = [f"--from-literal={key}=wrn_{secrets.token_hex(24)}" for key in ("token", "read-token")]
        namespace.kubectl("create", "secret", "generic", "warren-tokens", *tokens)
        folder = overlay(tmp_path, namespace.name, images)
        with_scaler(folder)
        namespace.kubectl("apply", "--kustomize", str(folder))
        installation = Installation(namespace, images)
        installation.wait_ready("warren-server", "warren-scaler", timeout_seconds=240)
        # A Deployment that is applied without a number begins with one, which has nothing to do.
        eventually(lambda: _replicas(namespace) == 0, 180, 1)

        with installation.client() as client:
            done = client.wait(client.submit("greet", {"name": "scaler"}), timeout_seconds=60)

        assert (done.result, done.attempt) == ("hello, scaler", 1)
        assert _replicas(namespace) == 1
        assert not installation.restarts()


def _replicas(namespace: Namespace) -> int:
    found: dict[str, Any] = namespace.get("deployment", "warren-worker-default")
    return int(found["spec"]["replicas"])
