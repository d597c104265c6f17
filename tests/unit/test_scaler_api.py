"""The adapter to the API server, on the official client against a server that answers as Kubernetes does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest

from warren.errors import KubernetesError, KubernetesForbidden
from warren.scaling import Policy
from warren_scaler.deployments.api import ApiCluster, ApiLeases, connect
from warren_scaler.deployments.cluster import Conflict
from warren_scaler.deployments.lease import Election, LeaseRecord
from warren_scaler.deployments.sets import WorkerSet

DEPLOYMENT = "/apis/apps/v1/namespaces/jobs/deployments"
PODS = "/api/v1/namespaces/jobs/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/jobs/leases"
EVENTS = "/api/v1/namespaces/jobs/events"
WORKERS = WorkerSet(name="workers", uid="u", labels={}, replicas=2, settled=True, queues=("default",), policy=Policy())


@dataclass
class ApiServer:
    """Answers by method and path; a number is an error of that status."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[tuple[str, str, str, Any]] = field(default_factory=list)
    port: int = 0

    def answer(self, method: str, path: str, kind: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, kind, body))
        found = self.answers.get((method, path.partition("?")[0]), 404)
        if isinstance(found, int):
            return found, {"kind": "Status", "message": f"told {found}", "code": found}
        return 200, found


@pytest.fixture
def api() -> Iterator[ApiServer]:
    api = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = api.answer(self.command, self.path, self.headers.get("Content-Type", ""), body)
            told = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_PATCH = do_PUT = _handle  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        api.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield api
        listening.shutdown()
        thread.join()


@pytest.fixture
def client(api: ApiServer) -> Iterator[kubernetes.client.ApiClient]:
    configuration = kubernetes.client.Configuration(host=f"http://127.0.0.1:{api.port}")
    configuration.retries = False
    with kubernetes.client.ApiClient(configuration) as client:
        yield client
        client.rest_client.pool_manager.clear()


@pytest.fixture
def cluster(client: kubernetes.client.ApiClient) -> ApiCluster:
    return ApiCluster(client, "jobs", "app=worker", "me")


def test_a_scale_is_patched_on_the_version_that_was_read(api: ApiServer, cluster: ApiCluster) -> None:
    scale = {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 2}}
    api.answers = {(method, f"{DEPLOYMENT}/workers/scale"): scale for method in ("GET", "PATCH")}

    cluster.scale(WORKERS, 20)

    method, path, kind, body = api.asked[-1]
    assert (method, path) == ("PATCH", f"{DEPLOYMENT}/workers/scale")
    assert kind in ("application/merge-patch+json", "application/strategic-merge-patch+json")
    assert body == {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 20}}


def test_a_scale_that_somebody_else_changed_is_left_alone(api: ApiServer, cluster: ApiCluster) -> None:
    api.answers = {
        ("GET", f"{DEPLOYMENT}/workers/scale"): {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 5}}
    }

    with pytest.raises(Conflict, match="it has 5 replicas by now, not 2"):
        cluster.scale(WORKERS, 20)

    assert [method for method, *_ in api.asked] == ["GET"]


def test_a_patch_of_an_old_version_is_a_conflict(api: ApiServer, cluster: ApiCluster) -> None:
    scale = {"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 2}}
    api.answers = {("GET", f"{DEPLOYMENT}/workers/scale"): scale, ("PATCH", f"{DEPLOYMENT}/workers/scale"): 409}

    with pytest.raises(Conflict, match="cannot scale deployment workers: 409 told 409"):
        cluster.scale(WORKERS, 20)


def test_pods_are_read_as_they_are_and_those_that_ended_are_left_out(api: ApiServer, cluster: ApiCluster) -> None:
    running = {"name": "worker", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    api.answers = {
        ("GET", PODS): {
            "items": [
                {
                    "metadata": {
                        "name": "a",
                        "labels": {"pod-template-hash": "x"},
                        "annotations": {
                            "controller.kubernetes.io/pod-deletion-cost": "-1000",
                            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                        },
                    },
                    "status": {
                        "phase": "Running",
                        "podIP": "10.0.0.1",
                        "conditions": [{"type": "Ready", "status": "True"}],
                        "containerStatuses": [running],
                    },
                },
                {
                    "metadata": {
                        "name": "b",
                        "deletionTimestamp": "2026-01-01T00:00:00Z",
                        "annotations": {"controller.kubernetes.io/pod-deletion-cost": "cheap"},
                    }
                },
                {"metadata": {"name": "c"}, "status": {"phase": "Failed"}},
            ]
        }
    }

    first, second = cluster.pods()

    assert (first.ready, first.started, first.address, first.cost, first.guarded) == (
        True,
        True,
        "10.0.0.1",
        -1000,
        True,
    )
    assert (first.generation, first.terminating) == ("x", False)
    assert (second.terminating, second.started, second.ready, second.cost) == (True, False, False, 0)
    assert api.asked[0][1] == f"{PODS}?labelSelector=app%3Dworker"


def test_deployments_are_returned_as_told(api: ApiServer, cluster: ApiCluster) -> None:
    api.answers = {("GET", DEPLOYMENT): {"items": [{"metadata": {"name": "workers"}}]}}

    assert cluster.deployments() == [{"metadata": {"name": "workers"}}]


def test_annotations_of_a_pod_are_merged(api: ApiServer, cluster: ApiCluster) -> None:
    api.answers = {("PATCH", f"{PODS}/a"): {}}

    cluster.annotate("a", {"x": "1", "y": None})

    assert api.asked[0][3] == {"metadata": {"annotations": {"x": "1", "y": None}}}


def test_a_missing_right_is_told_apart(api: ApiServer, cluster: ApiCluster) -> None:
    api.answers = {("PATCH", f"{PODS}/a"): 403}

    with pytest.raises(KubernetesForbidden, match="cannot annotate pod a: 403 told 403"):
        cluster.annotate("a", {"x": "1"})


def test_an_event_is_about_the_deployment(api: ApiServer, cluster: ApiCluster) -> None:
    api.answers = {("POST", EVENTS): {}}

    cluster.tell(WORKERS, "ScaledUp", "0 to 20 replicas", warning=True)

    body = api.asked[0][3]
    assert body["involvedObject"]["name"] == "workers"
    assert (body["reason"], body["type"], body["source"]["component"]) == ("ScaledUp", "Warning", "warren-scaler")


def test_a_server_that_does_not_answer_is_an_error_of_ours(cluster: ApiCluster, api: ApiServer) -> None:
    api.answers = {("GET", PODS): 500}
    with pytest.raises(KubernetesError, match="500 told 500"):
        cluster.pods()

    closed = kubernetes.client.Configuration(host="http://127.0.0.1:1")
    closed.retries = False
    with (
        kubernetes.client.ApiClient(closed) as client,
        pytest.raises(KubernetesError, match="cannot list pods: the API server does not answer"),
    ):
        ApiCluster(client, "jobs", "app=worker", "me").pods()


def test_a_lease_is_made_read_and_renewed(api: ApiServer, client: kubernetes.client.ApiClient) -> None:
    leases = ApiLeases(client, "jobs", "scaler")
    assert leases.read() is None
    api.answers = {("POST", LEASES): {}}
    leases.create(LeaseRecord(holder="me", seconds=10))
    made = api.asked[-1][3]
    assert (made["spec"]["holderIdentity"], made["spec"]["leaseDurationSeconds"]) == ("me", 10)

    api.answers = {
        (method, f"{LEASES}/scaler"): {"metadata": {"resourceVersion": "3"}, "spec": made["spec"]}
        for method in ("GET", "PUT")
    }
    Election(leases, "me", 10).turn()

    assert api.asked[-1][0] == "PUT"
    assert api.asked[-1][3]["metadata"]["resourceVersion"] == "3"


def test_without_a_cluster_the_message_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))

    with pytest.raises(KubernetesError, match="set KUBECONFIG"):
        connect()
