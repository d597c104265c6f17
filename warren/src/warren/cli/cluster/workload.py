"""What can be read from a workload's pod template: environment, references, login, time to stop. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from warren.cli.cluster.port import Object

WORKER: Final = "worker"
SCALER: Final = "scaler"
DEFAULT_GRACE_SECONDS: Final = 30
"""What a pod has that says nothing (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A Secret or ConfigMap that a pod template names.

    Attributes:
        kind: `Secret` or `ConfigMap`.
        name: Its name.
        keys: The keys that must be there.
    """

    kind: str
    name: str
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Contents of the Secrets and ConfigMaps that templates name, by name; never printed."""

    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def of(self, kind: str) -> Mapping[str, Mapping[str, str]]:
        """Return the contents of all objects of a kind."""
        return self.secrets if kind == "Secret" else self.config_maps


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment or ScaledJob of Warren's.

    Attributes:
        kind: Its kind.
        name: Its name.
        component: `server`, `worker` or `scaler`.
        replicas: Pods it wants; 0 for a ScaledJob.
        ready: Pods that are ready.
        selector: Labels of its pods as it selects them.
        labels: Labels of its pods as it makes them.
        pod: The template's spec.
        conditions: What the cluster says of it.
    """

    kind: str
    name: str
    component: str
    replicas: int = 0
    ready: int = 0
    selector: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Mapping[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """Its containers, those that run first included."""
        return [*self.pod.get("initContainers", []), *self.pod.get("containers", [])]


def of_deployment(found: Object) -> Workload:
    """Read a Deployment."""
    spec, status = found["spec"], found.get("status", {})
    return Workload(
        kind="Deployment",
        name=found["metadata"]["name"],
        component=_component(found),
        replicas=spec.get("replicas", 1),
        ready=status.get("readyReplicas", 0),
        selector=spec.get("selector", {}),
        labels=spec["template"].get("metadata", {}).get("labels", {}),
        pod=spec["template"].get("spec", {}),
        conditions=tuple(status.get("conditions", [])),
    )


def of_scaled_job(found: Object) -> Workload:
    """Read a ScaledJob."""
    template = found["spec"]["jobTargetRef"]["template"]
    name = found["metadata"]["name"]
    return Workload(
        kind="ScaledJob",
        name=name,
        component=_component(found),
        selector={"matchLabels": {"scaledjob.keda.sh/name": name}},
        labels=template.get("metadata", {}).get("labels", {}),
        pod=template.get("spec", {}),
    )


def contents(found: Object) -> dict[str, str]:
    """Decode what a Secret or ConfigMap holds; bytes that are no text become empty."""
    if found.get("kind") == "ConfigMap":
        return {**found.get("data", {}), **dict.fromkeys(found.get("binaryData", {}), "")}
    return {key: _decoded(value) for key, value in (found.get("data") or {}).items()}


def environment(workload: Workload, data: Data) -> dict[str, str]:
    """Return the variables of a workload's containers, without those whose value is not known."""
    known: dict[str, str] = {}
    for container in workload.pod.get("containers", []):
        for source in container.get("envFrom", []):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                held = data.of(kind).get(source.get(key, {}).get("name", ""), {})
                known |= {f"{source.get('prefix', '')}{name}": value for name, value in held.items()}
        for variable in container.get("env", []):
            value = variable.get("value", "") if "valueFrom" not in variable else _value(variable["valueFrom"], data)
            if value is not None:
                known[variable["name"]] = value
    return known


def references(workload: Workload) -> Iterator[Reference]:
    """Return what a template must find; what it calls optional is left out."""
    for container in workload.containers:
        for source in container.get("envFrom", []):
            yield from _named(source, {"configMapRef": "ConfigMap", "secretRef": "Secret"}, "name")
        for variable in container.get("env", []):
            yield from _keyed(variable.get("valueFrom", {}))
    for volume in workload.pod.get("volumes", []):
        files = _files(workload, volume["name"])
        for source in (volume, *volume.get("projected", {}).get("sources", [])):
            plain = source is volume
            yield from _named(source, {"secret": "Secret"}, "secretName" if plain else "name", files if plain else ())
            yield from _named(source, {"configMap": "ConfigMap"}, "name", files if plain else ())
    for secret in workload.pod.get("imagePullSecrets", []):
        yield Reference(kind="Secret", name=secret["name"])


def login(workload: Workload, data: Data) -> str | None:
    """Return the broker's login that a workload uses, None when it cannot be told."""
    known = environment(workload, data)
    declared = {variable["name"] for container in workload.containers for variable in container.get("env", [])}
    if path := known.get("WARREN_AMQP_USERNAME_FILE"):
        return _mounted(workload, data, path)
    if url := known.get("WARREN_AMQP_URL"):
        return unquote(urlsplit(url).username or "") or known.get("WARREN_AMQP_USERNAME") or "guest"
    if username := known.get("WARREN_AMQP_USERNAME"):
        return username
    hidden = {"WARREN_AMQP_USERNAME_FILE", "WARREN_AMQP_URL", "WARREN_AMQP_USERNAME"} & declared
    unseen = any(container.get("envFrom") for container in workload.containers)
    return None if hidden or unseen or not any(name.startswith("WARREN_AMQP_") for name in known) else "guest"


def pre_stop_seconds(workload: Workload) -> float:
    """Return how long the slowest preStop hook waits; a hook that is not a plain sleep counts as 0."""
    hooks = [one.get("lifecycle", {}).get("preStop", {}) for one in workload.pod.get("containers", [])]
    return max((_slept(hook) for hook in hooks), default=0.0)


def grace_seconds(workload: Workload) -> float:
    """Return how long its pods may take to stop."""
    return float(workload.pod.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS))


def _component(found: Object) -> str:
    return str(found["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _value(source: Mapping[str, Any], data: Data) -> str | None:
    for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if key in source:
            return data.of(kind).get(source[key].get("name", ""), {}).get(source[key]["key"])
    return None


def _named(
    source: Mapping[str, Any], kinds: Mapping[str, str], name: str, files: tuple[str, ...] = ()
) -> Iterator[Reference]:
    for key, kind in kinds.items():
        held = source.get(key)
        if held and not held.get("optional") and held.get(name):
            keys = [item["key"] for item in held["items"]] if held.get("items") else files
            yield Reference(kind=kind, name=held[name], keys=frozenset(keys))


def _keyed(source: Mapping[str, Any]) -> Iterator[Reference]:
    for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        held = source.get(key)
        if held and not held.get("optional"):
            yield Reference(kind=kind, name=held.get("name", ""), keys=frozenset({held["key"]}))


def _files(workload: Workload, volume: str) -> tuple[str, ...]:
    """Return the files of a volume that `WARREN_*_FILE` variables name."""
    found = []
    for container in workload.pod.get("containers", []):
        folders = [mount["mountPath"] for mount in container.get("volumeMounts", []) if _whole(mount, volume)]
        for variable in container.get("env", []):
            path = PurePosixPath(variable.get("value", ""))
            if variable["name"].endswith("_FILE") and str(path.parent) in [folder.rstrip("/") for folder in folders]:
                found.append(path.name)
    return tuple(found)


def _whole(mount: Mapping[str, Any], volume: str) -> bool:
    return bool(mount["name"] == volume and "subPath" not in mount)


def _mounted(workload: Workload, data: Data, path: str) -> str | None:
    """Return the content of a file that a Secret's volume holds."""
    for volume in workload.pod.get("volumes", []):
        secret = volume.get("secret", {})
        if PurePosixPath(path).name in _files(workload, volume["name"]) and secret:
            keys = {item["path"]: item["key"] for item in secret.get("items", [])}
            name = PurePosixPath(path).name
            value = data.secrets.get(secret.get("secretName", ""), {}).get(keys.get(name, name))
            return value.strip() if value is not None else None
    return None


def _slept(hook: Mapping[str, Any]) -> float:
    if "sleep" in hook:
        return float(hook["sleep"].get("seconds", 0))
    words = " ".join(hook.get("exec", {}).get("command", [])).split()
    if "sleep" in words[:-1]:
        seconds = words[words.index("sleep") + 1].rstrip("s;")
        return float(seconds) if seconds.replace(".", "", 1).isdecimal() else 0.0
    return 0.0
