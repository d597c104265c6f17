"""The port `Cluster` on the official Kubernetes client. Nothing outside this module imports it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import kubernetes.client
import kubernetes.config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from warren.errors import KubernetesError, KubernetesForbidden
from warren_scaler.deployments.cluster import Conflict
from warren_scaler.deployments.lease import LeaseRecord
from warren_scaler.deployments.pods import Pod, read_pod
from warren_scaler.deployments.sets import WorkerSet

REQUEST_SECONDS: Final = (2.0, 5.0)
"""To connect, and to answer."""
_NOT_FOUND: Final = 404
_MESSAGE_MAX: Final = 1000


def connect() -> kubernetes.client.ApiClient:
    """Make a client for the cluster this pod runs in, or else for the one KUBECONFIG names; it asks nothing yet.

    Raises:
        KubernetesError: There is neither.
    """
    configuration = kubernetes.client.Configuration()
    configuration.retries = False
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            kubernetes.config.load_incluster_config(client_configuration=configuration)
        else:
            kubernetes.config.load_kube_config(client_configuration=configuration)
    except ConfigException as error:
        raise KubernetesError(
            f"no cluster: {error}; run the scaler in a pod with a service account, or set KUBECONFIG"
        ) from error
    return kubernetes.client.ApiClient(configuration)


class ApiCluster:
    """One namespace.

    Args:
        client: The client.
        namespace: Its name.
        selector: Labels of the Deployments and pods of workers.
        me: What events name as their source's instance.
    """

    def __init__(self, client: kubernetes.client.ApiClient, namespace: str, selector: str, me: str) -> None:
        self._apps = kubernetes.client.AppsV1Api(client)
        self._core = kubernetes.client.CoreV1Api(client)
        self._namespace = namespace
        self._selector = selector
        self._me = me

    def deployments(self) -> Sequence[Mapping[str, Any]]:
        found = _ask("list deployments", self._apps.list_namespaced_deployment, self._namespace, **self._selected)
        return list(found["items"])

    def pods(self) -> Sequence[Pod]:
        found = _ask("list pods", self._core.list_namespaced_pod, self._namespace, **self._selected)
        return [pod for pod in map(read_pod, found["items"]) if pod]

    def scale(self, worker_set: WorkerSet, replicas: int) -> None:
        what = f"scale deployment {worker_set.name}"
        scale = _ask(what, self._apps.read_namespaced_deployment_scale, worker_set.name, self._namespace)
        there = int(scale["spec"].get("replicas", 0))
        if there != worker_set.replicas:
            raise Conflict(f"cannot {what}: it has {there} replicas by now, not {worker_set.replicas}")
        body = {
            "metadata": {"resourceVersion": scale["metadata"]["resourceVersion"]},
            "spec": {"replicas": replicas},
        }
        self._patch(what, partial(self._apps.patch_namespaced_deployment_scale, worker_set.name), body)

    def annotate(self, pod: str, annotations: Mapping[str, str | None]) -> None:
        body = {"metadata": {"annotations": dict(annotations)}}
        self._patch(f"annotate pod {pod}", partial(self._core.patch_namespaced_pod, pod), body)

    def tell(self, worker_set: WorkerSet, reason: str, message: str, *, warning: bool = False) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "metadata": {"name": f"{worker_set.name}.{secrets.token_hex(8)}", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": worker_set.name,
                "namespace": self._namespace,
                "uid": worker_set.uid,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:_MESSAGE_MAX],
            "source": {"component": "warren-scaler", "host": self._me},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        _ask("create an event", self._core.create_namespaced_event, self._namespace, event)

    @property
    def _selected(self) -> dict[str, Any]:
        return {"label_selector": self._selector}

    def _patch(self, what: str, call: Callable[..., Any], body: Mapping[str, Any]) -> None:
        _ask(what, call, self._namespace, body)


class ApiLeases:
    """A lease of `coordination.k8s.io`.

    Args:
        client: The client.
        namespace: Where the lease is.
        name: Its name.
    """

    def __init__(self, client: kubernetes.client.ApiClient, namespace: str, name: str) -> None:
        self._coordination = kubernetes.client.CoordinationV1Api(client)
        self._namespace = namespace
        self._name = name

    def read(self) -> tuple[LeaseRecord, str] | None:
        try:
            lease = _ask("read the lease", self._coordination.read_namespaced_lease, self._name, self._namespace)
        except _Missing:
            return None
        spec = lease.get("spec") or {}
        record = LeaseRecord(
            holder=spec.get("holderIdentity") or "",
            seconds=int(spec.get("leaseDurationSeconds") or 0),
            transitions=int(spec.get("leaseTransitions") or 0),
        )
        return record, lease["metadata"]["resourceVersion"]

    def create(self, record: LeaseRecord) -> None:
        _ask("create the lease", self._coordination.create_namespaced_lease, self._namespace, self._body(record))

    def replace(self, record: LeaseRecord, version: str) -> None:
        body = self._body(record, version)
        _ask("renew the lease", self._coordination.replace_namespaced_lease, self._name, self._namespace, body)

    def _body(self, record: LeaseRecord, version: str | None = None) -> dict[str, Any]:
        metadata = {"name": self._name, "namespace": self._namespace}
        return {
            "metadata": metadata | ({"resourceVersion": version} if version else {}),
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.seconds,
                "leaseTransitions": record.transitions,
                # For people: nobody compares it with a clock.
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }


class _Missing(KubernetesError):
    """There is no such object."""


def _ask(what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call the API server, and return its answer as it is told: the client's own classes cost most of the time."""
    with _translated(what):
        answer = call(*arguments, **options, _preload_content=False, _request_timeout=REQUEST_SECONDS)
        try:
            return json.loads(answer.data)
        finally:
            answer.release_conn()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        told = f"cannot {what}: {error.status} {_reason(error)}"
        kinds: dict[int, type[KubernetesError]] = {
            401: KubernetesForbidden,
            403: KubernetesForbidden,
            409: Conflict,
            _NOT_FOUND: _Missing,
        }
        raise kinds.get(error.status or 0, KubernetesError)(told) from error
    except (HTTPError, OSError, ValueError) as error:
        raise KubernetesError(
            f"cannot {what}: the API server does not answer ({type(error).__name__}: {error})"
        ) from error


def _reason(error: ApiException) -> str:
    """Return what the API server says, which is a Status object as a rule."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
