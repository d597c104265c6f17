"""Pod Security Standards, profile *restricted*, as of Kubernetes 1.34 and later.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ - every control of the profiles baseline and
restricted, for pods of Linux.
"""

from __future__ import annotations

from collections.abc import Iterator

from manifests.documents import Manifest, containers

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def violations(pod: Manifest) -> list[str]:
    """Return what keeps a pod (its `metadata` and `spec`) out of a namespace that enforces the profile."""
    found = [*_of_pod(pod)]
    for path, container in containers(pod):
        found += [f"{path}.{rule}" for rule in _of_container(container, pod["spec"].get("securityContext") or {})]
    return found


def _of_pod(pod: Manifest) -> Iterator[str]:
    spec = pod["spec"]
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"spec.{field} is true"
    for volume in spec.get("volumes") or []:
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"spec.volumes {volume['name']!r} is a {kind}: only {', '.join(sorted(VOLUMES))}"
    context = spec.get("securityContext") or {}
    for rule in _of_any_context(context):
        yield f"spec.securityContext.{rule}"
    for sysctl in context.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            yield f"spec.securityContext.sysctls has {sysctl['name']}"
    for key, value in ((pod.get("metadata") or {}).get("annotations") or {}).items():
        old = key.startswith("container.apparmor.security.beta.kubernetes.io/")
        if old and value != "runtime/default" and not value.startswith("localhost/"):
            yield f"metadata.annotations {key} is {value}"


def _of_any_context(context: Manifest) -> Iterator[str]:
    """Yield what neither a pod's nor a container's security context may say."""
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "windowsOptions.hostProcess is true"
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if context.get("runAsNonRoot") is False:
        yield "runAsNonRoot is false"
    seccomp = (context.get("seccompProfile") or {}).get("type", "RuntimeDefault")
    if seccomp not in SECCOMP:
        yield f"seccompProfile.type is {seccomp}"
    apparmor = (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault")
    if apparmor not in SECCOMP:
        yield f"appArmorProfile.type is {apparmor}"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX_TYPES:
        yield f"seLinuxOptions.type is {selinux['type']}"
    for field in ("user", "role"):
        if selinux.get(field):
            yield f"seLinuxOptions.{field} is set"


def _of_container(container: Manifest, of_pod: Manifest) -> Iterator[str]:
    context = container.get("securityContext") or {}
    for rule in _of_any_context(context):
        yield f"securityContext.{rule}"
    if context.get("privileged"):
        yield "securityContext.privileged is true"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "securityContext.allowPrivilegeEscalation is not false"
    if not context.get("runAsNonRoot", of_pod.get("runAsNonRoot")):
        yield "securityContext.runAsNonRoot is not true, nor is the pod's"
    if not (context.get("seccompProfile") or of_pod.get("seccompProfile")):
        yield "securityContext.seccompProfile is not set, nor is the pod's"
    if context.get("procMount", "Default") != "Default":
        yield f"securityContext.procMount is {context['procMount']}"
    yield from _capabilities(context.get("capabilities") or {})
    yield from _hosts(container)


def _capabilities(capabilities: Manifest) -> Iterator[str]:
    if "ALL" not in (capabilities.get("drop") or []):
        yield "securityContext.capabilities.drop lacks ALL"
    if more := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"securityContext.capabilities.add has {', '.join(sorted(more))}"


def _hosts(container: Manifest) -> Iterator[str]:
    """Yield host ports, and the `host` of probes and lifecycle handlers: these reach where pods may not (1.34)."""
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"ports has hostPort {port['hostPort']}"
    handlers = {probe: container.get(probe) for probe in PROBES}
    lifecycle = container.get("lifecycle") or {}
    handlers |= {f"lifecycle.{event}": lifecycle.get(event) for event in ("postStart", "preStop")}
    for name, handler in handlers.items():
        for action in ("httpGet", "tcpSocket"):
            if ((handler or {}).get(action) or {}).get("host"):
                yield f"{name}.{action}.host is {handler[action]['host']}"  # type: ignore[index]
