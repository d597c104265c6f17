"""A PostgreSQL of one pod for the tests: the chart takes a database that somebody else runs."""

from __future__ import annotations

import secrets
from typing import Any

from e2e.commands import ENVIRONMENT

IMAGE = ENVIRONMENT.get("WARREN_E2E_POSTGRESQL_IMAGE") or "postgres:17"
NAME = "postgresql"
SECRET = "warren-postgresql"
VALUES = {
    "mode": "postgresql",
    "postgresql": {"host": NAME, "sslMode": "disable", "existingSecret": {"name": SECRET}},
}
"""The chart's `store`, for it."""


def postgresql() -> list[dict[str, Any]]:
    """Describe a pod that forgets everything with its end, its Service and the secret of its password."""
    labels = {"app.kubernetes.io/name": NAME}
    data = "/var/lib/postgresql/data"
    variables = {"POSTGRES_USER": "warren", "POSTGRES_DB": "warren", "PGDATA": f"{data}/pgdata"}
    password = {"secretKeyRef": {"name": SECRET, "key": "password"}}
    container = {
        "name": NAME,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            *({"name": name, "value": value} for name, value in variables.items()),
            {"name": "POSTGRES_PASSWORD", "valueFrom": password},
        ],
        "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 3},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": data}, {"name": "run", "mountPath": "/run/postgresql"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "runAsGroup": 999,
            "fsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "run", "emptyDir": {}}],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET},
            "stringData": {"password": secrets.token_hex(16)},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"port": 5432}]},
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": labels}, "spec": pod},
    ]
