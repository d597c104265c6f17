"""Small Kubernetes objects, healthy unless a test says otherwise, and a cluster that answers with them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from warren.cli.cluster.port import (
    BROKERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NAMESPACES,
    PERMISSIONS,
    POD_AUTOSCALERS,
    PODS,
    SCALED_JOBS,
    SCALED_OBJECTS,
    SECRETS,
    TOPOLOGY,
    USERS,
    VHOSTS,
    Kind,
    Object,
)
from warren.cli.cluster.snapshot import Snapshot, read

NAMESPACE = "jobs"
KINDS = (
    NAMESPACES, DEPLOYMENTS, PODS, SECRETS, CONFIG_MAPS, DISRUPTION_BUDGETS, POD_AUTOSCALERS, SCALED_OBJECTS,
    SCALED_JOBS, BROKERS, *TOPOLOGY,
)  # fmt: skip


class FakeCluster:
    """Answers from memory; a kind may be answered by an error instead."""

    namespace = NAMESPACE

    def __init__(
        self, objects: Mapping[Kind, Sequence[Object]], errors: Mapping[Kind, Exception] | None = None
    ) -> None:
        self.objects = objects
        self.errors = dict(errors or {})
        self.address = "127.0.0.1:1"
        self.reached: list[tuple[str, int]] = []

    def every(self, kind: Kind, *, selector: str = "", everywhere: bool = False) -> list[Object]:
        if kind in self.errors:
            raise self.errors[kind]
        found = list(self.objects.get(kind, []))
        if everywhere:
            return [one for one in found if one["metadata"]["namespace"] != NAMESPACE]
        wanted = [part.split("=") for part in selector.split(",") if part]
        own = [one for one in found if one["metadata"]["namespace"] == NAMESPACE]
        return [one for one in own if all(one["metadata"]["labels"].get(name) == value for name, value in wanted)]

    def named(self, kind: Kind, names: Sequence[str]) -> list[Object]:
        if kind in self.errors:
            raise self.errors[kind]
        return [one for one in self.objects.get(kind, []) if one["metadata"]["name"] in names]

    @contextmanager
    def reach(self, service: str, port: int) -> Iterator[str]:
        self.reached.append((service, port))
        yield self.address


def metadata(name: str, labels: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": dict(labels or {}), "generation": 1, **more}


def labels(component: str, name: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/part-of": "warren",
        "app.kubernetes.io/instance": "mine",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/name": name,
    }


def environment(**variables: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def deployment(
    name: str = "warren-worker",
    component: str = "worker",
    *,
    replicas: int = 1,
    ready: int | None = None,
    image: str = "warren-worker:0.1.0",
    container: Mapping[str, Any] | None = None,
    pod: Mapping[str, Any] | None = None,
    conditions: Sequence[Mapping[str, Any]] = (),
) -> Object:
    own = labels(component, name)
    spec = {
        "terminationGracePeriodSeconds": 60,
        "containers": [{"name": component, "image": image, **(container or {})}],
        **(pod or {}),
    }
    return {
        "kind": "Deployment",
        "metadata": metadata(name, own),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": own}, "spec": spec},
        },
        "status": {"readyReplicas": replicas if ready is None else ready, "conditions": list(conditions)},
    }


def pod(
    of: str = "warren-worker",
    component: str = "worker",
    *,
    container: Mapping[str, Any] | None = None,
    mounts: Sequence[str] = (),
    conditions: Sequence[Mapping[str, Any]] = (),
) -> Object:
    return {
        "kind": "Pod",
        "metadata": metadata(f"{of}-abc", labels(component, of)),
        "spec": {"containers": [{"name": component, "volumeMounts": [{"mountPath": path} for path in mounts]}]},
        "status": {
            "conditions": list(conditions),
            "containerStatuses": [
                {"name": component, "restartCount": 0, "state": {"running": {}}, "lastState": {}, **(container or {})}
            ],
        },
    }


def secret(name: str, **values: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"kind": "Secret", "metadata": metadata(name), "data": data}


def config_map(name: str, **values: str) -> Object:
    return {"kind": "ConfigMap", "metadata": metadata(name), "data": values}


def namespace(enforce: str | None = "restricted") -> Object:
    held = {} if enforce is None else {"pod-security.kubernetes.io/enforce": enforce}
    return {"kind": "Namespace", "metadata": metadata(NAMESPACE, held)}


def budget(of: str, component: str = "worker") -> Object:
    return {"metadata": metadata(of), "spec": {"selector": {"matchLabels": labels(component, of)}}}


def scaled_object(target: str, *conditions: tuple[str, str], **spec: Any) -> Object:
    held = [{"type": kind, "status": status, "message": f"{kind} said", "reason": "Why"} for kind, status in conditions]
    return {
        "metadata": metadata(f"{target}-scaled"),
        "spec": {"scaleTargetRef": {"name": target}, **spec},
        "status": {"conditions": held},
    }


def pod_autoscaler(target: str, *, owner: str = "", most: int = 5) -> Object:
    owners = [{"kind": "ScaledObject", "name": owner}] if owner else []
    return {
        "metadata": metadata(f"{target}-hpa", ownerReferences=owners),
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}, "maxReplicas": most},
    }


def broker(
    *conditions: tuple[str, str], quorum: str | None = "ok", replicas: int = 3, seen: int = 1, **spec: Any
) -> Object:
    given = dict(conditions)
    held = [
        {"type": kind, "status": given.get(kind, "True"), "message": "", "reason": f"{kind}Reason"}
        for kind in ("AllReplicasReady", "ReconcileSuccess", "NoWarnings")
    ]
    return {
        "kind": "RabbitmqCluster",
        "metadata": metadata("warren-rabbitmq"),
        "spec": {"replicas": replicas, **spec},
        "status": {
            "conditions": held,
            "observedGeneration": seen,
            "defaultUser": {"secretReference": {"name": "warren-rabbitmq-default-user"}},
            **({} if quorum is None else {"quorumStatus": quorum}),
        },
    }


def declared(kind: str, name: str, /, *, ready: str | None = "True", message: str = "", **spec: Any) -> Object:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready, "message": message, "reason": "Why"}]
    return {"kind": kind, "metadata": metadata(name), "spec": spec, "status": {"conditions": conditions}}


def operator(name: str, ready: int = 1) -> Object:
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "rabbitmq-system", "labels": {"app.kubernetes.io/name": name}},
        "status": {"readyReplicas": ready},
    }


def healthy() -> dict[Kind, list[Object]]:
    """Return an installation without a fault."""
    mounted = {
        "env": environment(
            WARREN_AMQP_HOST="warren-rabbitmq",
            WARREN_AMQP_VHOST="warren",
            WARREN_AMQP_USERNAME_FILE="/etc/warren/amqp/username",
            WARREN_AMQP_PASSWORD_FILE="/etc/warren/amqp/password",
        ),
        "volumeMounts": [{"name": "login", "mountPath": "/etc/warren/amqp"}],
    }
    volumes = {"volumes": [{"name": "login", "secret": {"secretName": "warren-worker-user-credentials"}}]}
    return {
        NAMESPACES: [namespace()],
        DEPLOYMENTS: [
            deployment(replicas=2, container=mounted, pod=volumes),
            deployment("warren-server", "server", container=mounted, pod=volumes),
            operator("rabbitmq-cluster-operator"),
            operator("messaging-topology-operator"),
        ],
        PODS: [pod(), pod("warren-server", "server")],
        SECRETS: [
            secret("warren-worker-user-credentials", username="warren-worker", password="secret"),
            secret("warren-rabbitmq-default-user", username="default", password="secret"),
        ],
        DISRUPTION_BUDGETS: [
            budget("warren-worker"),
            {
                "metadata": metadata("b"),
                "spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": "warren-rabbitmq"}}},
            },
        ],
        SCALED_OBJECTS: [scaled_object("warren-worker", ("Ready", "True"), ("Fallback", "False"))],
        POD_AUTOSCALERS: [pod_autoscaler("warren-worker", owner="warren-worker-scaled")],
        BROKERS: [broker()],
        VHOSTS: [declared("Vhost", "warren", name="warren")],
        USERS: [declared("User", "warren-monitor", tags=["monitoring"])],
        PERMISSIONS: [
            declared("Permission", "warren-worker", permissions={"configure": "", "write": "w", "read": "r"})
        ],
    }


def snapshot(objects: Mapping[Kind, Sequence[Object]], errors: Mapping[Kind, Exception] | None = None) -> Snapshot:
    return read(FakeCluster(objects, errors), None)
