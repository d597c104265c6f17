"""`warren doctor --kubernetes` on a real cluster: an installation that is well, objects that are not, an account."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from e2e.commands import apply, kubectl
from e2e.installation import Images, Installation
from e2e.namespaces import Namespace
from waiting import eventually
from warren.cli import main
from warren.cli.cluster import connect


def doctor(namespace: str, *words: str) -> tuple[int, list[dict[str, str]]]:
    result = CliRunner().invoke(main, ["doctor", "--kubernetes", "--namespace", namespace, "--json", *words])
    return result.exit_code, json.loads(result.stdout)


def at(level: str, found: list[dict[str, str]]) -> dict[str, str]:
    return {one["check"]: one["message"] for one in found if one["level"] == level}


@pytest.fixture
def namespace(cluster: None) -> Iterator[str]:
    with Namespace("doctor") as made:
        yield made.name


@pytest.fixture
def image(images: Images) -> str:
    """Any image with Python whose user may be 10001: the pods only wait."""
    return f"{images.prefix}worker:{images.tag}"


def workload(
    namespace: str, name: str, component: str, *, env: dict[str, str], image: str, secret: str, grace: int
) -> dict[str, Any]:
    """Describe a Deployment as the chart makes it, whose container only waits."""
    labels = {
        "app.kubernetes.io/part-of": "warren",
        "app.kubernetes.io/instance": "mine",
        "app.kubernetes.io/component": component,
    }
    variables = {
        "WARREN_AMQP_USERNAME_FILE": "/etc/warren/login/username",
        "WARREN_AMQP_PASSWORD_FILE": "/etc/warren/login/password",
        **env,
    }
    container = {
        "name": component,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "import signal; signal.sigwait([signal.SIGTERM])"],
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "login", "mountPath": "/etc/warren/login"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "login", "secret": {"secretName": secret}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def test_an_installation_that_is_well_passes(installation: Installation) -> None:
    namespace = installation.namespace.name
    login = installation.namespace.secret("warren-worker-user-credentials")["username"]

    # The broker counts every few seconds, and is busy just after its start.
    code, found = eventually(lambda: _passed(doctor(namespace)), 60, 2)

    well = at("ok", found)
    assert code == 0
    assert not at("unknown", found)
    assert {"grace period", "references", "pods", "broker quorum", "broker alarms", "queue types"} <= well.keys()
    assert re.search(rf"{login}.*: no configure right", well["broker permissions"])


def _passed(run: tuple[int, list[dict[str, str]]]) -> tuple[int, list[dict[str, str]]] | None:
    return run if run[0] == 0 and not at("note", run[1]) else None


def test_objects_that_are_wrong_are_found(namespace: str, image: str) -> None:
    latest = f"{image.rpartition(':')[0]}:latest"
    env = {"WARREN_AMQP_HOST": "elsewhere", "WARREN_DRAIN_SECONDS": "60"}
    wrong = workload(namespace, "warren-worker", "worker", env=env, secret="absent", grace=30, image=latest)
    unfit = workload(namespace, "warren-server", "server", env=env, secret="absent", grace=30, image=image)
    unfit["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] = False
    wrong["spec"]["replicas"] = 2
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "warren-worker"},
            "maxReplicas": 3,
        },
    }
    apply(wrong, unfit, *({**scaler, "metadata": {"namespace": namespace, "name": name}} for name in ("one", "two")))

    _, found = eventually(lambda: _with(doctor(namespace), "broken", "pods"), 60, 1)

    broken, notes = at("broken", found), at("note", found)
    assert "Deployment warren-worker: 30 s is less than preStop 0 + drain 60 + 10 = 70 s" in broken["grace period"]
    assert "Secret absent is not there" in broken["references"]
    assert "HorizontalPodAutoscaler one, HorizontalPodAutoscaler two" in broken["autoscalers"]
    assert "violates PodSecurity" in broken["pods"]
    assert "warren-worker" in broken["readiness"]
    assert latest in notes["images"]
    assert "warren-worker" in notes["disruption budget"]
    assert at("unknown", found).keys() == {"broker"}


def _with(run: tuple[int, list[dict[str, str]]], level: str, check: str) -> tuple[int, list[dict[str, str]]] | None:
    return run if check in at(level, run[1]) else None


def test_a_pods_account_sees_what_its_role_allows(
    namespace: str, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account's own token and authority, on the API server's own address: all but the pod is real."""
    rules = [
        {"apiGroups": [""], "resources": ["pods", "secrets", "configmaps", "namespaces"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
    ]
    meta = {"name": "doctor", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "doctor"}
    version = "rbac.authorization.k8s.io/v1"
    apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": version, "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": "doctor", "namespace": namespace}],
        },
        workload(
            namespace,
            "warren-worker",
            "worker",
            env={"WARREN_AMQP_HOST": "elsewhere"},
            secret="absent",
            grace=30,
            image=image,
        ),
    )
    roots = json.loads(kubectl("--namespace", namespace, "get", "configmap", "kube-root-ca.crt", "--output", "json"))
    (tmp_path / "ca.crt").write_text(roots["data"]["ca.crt"])
    (tmp_path / "token").write_text(kubectl("--namespace", namespace, "create", "token", "doctor"))
    (tmp_path / "namespace").write_text(namespace)
    address = urlsplit(kubectl("config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}"))
    monkeypatch.setattr(connect, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port or 443))

    code, found = doctor(namespace)

    broken, unseen = at("broken", found), [one for one in found if one["level"] == "unknown"]
    assert code == 1
    assert "Secret absent is not there" in broken["references"]
    assert "30 s is less than" in broken["grace period"]
    (hidden,) = [one for one in unseen if one["check"] == "kubernetes"]
    assert "poddisruptionbudgets.policy" in hidden["message"]
    assert 'apiGroups: ["policy"], resources: [poddisruptionbudgets], verbs: [get, list]' in hidden["fix"]
    assert "deployments" not in hidden["message"]
    assert "operators" in {one["check"] for one in unseen}
