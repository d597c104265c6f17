"""The restricted profile: the charts' pods keep it, and the check finds each way to break it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from manifests.charts import Chart, render
from manifests.documents import identity, pods
from manifests.restricted import violations

GOOD: dict[str, Any] = {
    "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/main": "runtime/default"}},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                "ports": [{"containerPort": 80}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "all", "projected": {"sources": []}}],
    },
}


def broken(path: str, value: Any) -> dict[str, Any]:
    """Return the good pod with one value put in, or taken out where it is None."""
    pod = copy.deepcopy(GOOD)
    found: Any = pod
    *parts, last = path.split("/")
    for part in parts:
        found = found[int(part)] if isinstance(found, list) else found.setdefault(part, {})
    if value is None:
        del found[last]
    else:
        found[last] = value
    return pod


MAIN = "spec/containers/0"
BROKEN = [
    ("spec/hostNetwork", True, "spec.hostNetwork is true"),
    ("spec/hostPID", True, "spec.hostPID is true"),
    ("spec/hostIPC", True, "spec.hostIPC is true"),
    ("spec/volumes", [{"name": "v", "hostPath": {"path": "/"}}], "spec.volumes 'v' is a hostPath"),
    ("spec/volumes", [{"name": "v", "nfs": {"server": "x", "path": "/"}}], "spec.volumes 'v' is a nfs"),
    ("spec/securityContext/windowsOptions", {"hostProcess": True}, "windowsOptions.hostProcess is true"),
    ("spec/securityContext/runAsUser", 0, "spec.securityContext.runAsUser is 0"),
    ("spec/securityContext/runAsNonRoot", False, "spec.securityContext.runAsNonRoot is false"),
    ("spec/securityContext/runAsNonRoot", None, "runAsNonRoot is not true"),
    ("spec/securityContext/seccompProfile", {"type": "Unconfined"}, "seccompProfile.type is Unconfined"),
    ("spec/securityContext/seccompProfile", None, "seccompProfile is not set"),
    ("spec/securityContext/appArmorProfile", {"type": "Unconfined"}, "appArmorProfile.type is Unconfined"),
    ("spec/securityContext/seLinuxOptions", {"type": "spc_t"}, "seLinuxOptions.type is spc_t"),
    ("spec/securityContext/seLinuxOptions", {"user": "u"}, "seLinuxOptions.user is set"),
    ("spec/securityContext/seLinuxOptions", {"role": "r"}, "seLinuxOptions.role is set"),
    ("spec/securityContext/sysctls", [{"name": "kernel.msgmax", "value": "1"}], "sysctls has kernel.msgmax"),
    ("metadata/annotations/container.apparmor.security.beta.kubernetes.io@main", "unconfined", "is unconfined"),
    (f"{MAIN}/securityContext/privileged", True, "securityContext.privileged is true"),
    (f"{MAIN}/securityContext/allowPrivilegeEscalation", None, "allowPrivilegeEscalation is not false"),
    (f"{MAIN}/securityContext/allowPrivilegeEscalation", True, "allowPrivilegeEscalation is not false"),
    (f"{MAIN}/securityContext/runAsUser", 0, "containers[0].securityContext.runAsUser is 0"),
    (f"{MAIN}/securityContext/runAsNonRoot", False, "containers[0].securityContext.runAsNonRoot is false"),
    (f"{MAIN}/securityContext/seccompProfile", {"type": "Unconfined"}, "seccompProfile.type is Unconfined"),
    (f"{MAIN}/securityContext/procMount", "Unmasked", "procMount is Unmasked"),
    (f"{MAIN}/securityContext/capabilities", None, "capabilities.drop lacks ALL"),
    (f"{MAIN}/securityContext/capabilities", {"drop": ["NET_RAW"]}, "capabilities.drop lacks ALL"),
    (f"{MAIN}/securityContext/capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}, "add has NET_ADMIN"),
    (f"{MAIN}/ports", [{"containerPort": 80, "hostPort": 80}], "ports has hostPort 80"),
    (f"{MAIN}/livenessProbe/httpGet/host", "localhost", "livenessProbe.httpGet.host is localhost"),
    (f"{MAIN}/readinessProbe", {"tcpSocket": {"port": 1, "host": "h"}}, "readinessProbe.tcpSocket.host is h"),
    (f"{MAIN}/lifecycle", {"preStop": {"httpGet": {"port": 1, "host": "h"}}}, "lifecycle.preStop.httpGet.host is h"),
    ("spec/initContainers", [{"name": "init"}], "spec.initContainers[0].securityContext.allowPrivilegeEscalation"),
    ("spec/ephemeralContainers", [{"name": "e"}], "spec.ephemeralContainers[0].securityContext.capabilities"),
]


def test_every_values_file_renders_pods_that_the_profile_admits(chart: Chart, case: str) -> None:
    found = pods(render(chart, chart.cases()[case]))

    assert [f"{identity(owner)}: {rule}" for owner, pod in found for rule in violations(pod)] == []


def test_a_good_pod_is_admitted() -> None:
    assert violations(GOOD) == []


@pytest.mark.parametrize(("path", "value", "said"), BROKEN, ids=[said for _, _, said in BROKEN])
def test_a_pod_that_breaks_the_profile_is_found(path: str, value: Any, said: str) -> None:
    pod = broken(path, value)
    annotations = pod["metadata"]["annotations"]
    # A slash within a key, which the path could not hold.
    pod["metadata"]["annotations"] = {key.replace("@", "/"): annotations[key] for key in annotations}

    assert any(said in rule for rule in violations(pod)), violations(pod)


def test_what_only_containers_say_is_enough() -> None:
    pod = broken("spec/securityContext", None)
    pod["spec"]["containers"][0]["securityContext"] |= {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }

    assert violations(pod) == []
