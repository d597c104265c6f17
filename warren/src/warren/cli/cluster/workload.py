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

_VOLUME_KINDS: Final = {"secret": "Secret", "configMap": "ConfigMap"}
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


def references(workload: Workload) -> list[Reference]:
    """Return what a template must find, one for each Secret and ConfigMap, with all keys that are asked of it.

    What it calls optional is left out, but for files that `WARREN_*_FILE` variables name: without them the pod starts
    and its program cannot work.
    """
    keys: dict[tuple[str, str], frozenset[str]] = {}
    for one in (*_of_variables(workload), *_of_volumes(workload), *_of_files(workload)):
        keys[one.kind, one.name] = keys.get((one.kind, one.name), frozenset()) | one.keys
    return [Reference(kind=kind, name=name, keys=held) for (kind, name), held in keys.items()]


def login(workload: Workload, data: Data) -> str | None:
    """Return the broker's login that a workload uses, None when it cannot be told."""
    known = environment(workload, data)
    declared = {variable["name"] for container in workload.containers for variable in container.get("env", [])}
    if path := known.get("WARREN_AMQP_USERNAME_FILE"):
        sources = [_source(workload, container, path) for container in workload.pod.get("containers", [])]
        held = next((data.of(one.kind).get(one.name, {}).get(*one.keys) for one in sources if one is not None), None)
        return held.strip() if held is not None else None
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


def _of_variables(workload: Workload) -> Iterator[Reference]:
    for container in workload.containers:
        for source in container.get("envFrom", []):
            yield from _named(source, {"configMapRef": "ConfigMap", "secretRef": "Secret"})
        for variable in container.get("env", []):
            yield from _named(variable.get("valueFrom", {}), {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"})


def _of_volumes(workload: Workload) -> Iterator[Reference]:
    for volume in workload.pod.get("volumes", []):
        for source in _sources(volume):
            yield from _named(source, _VOLUME_KINDS)
    for secret in workload.pod.get("imagePullSecrets", []):
        yield Reference(kind="Secret", name=secret["name"])


def _of_files(workload: Workload) -> Iterator[Reference]:
    for container in workload.pod.get("containers", []):
        for variable in container.get("env", []):
            if variable["name"].startswith("WARREN_") and variable["name"].endswith("_FILE"):
                found = _source(workload, container, variable.get("value", ""))
                if found is not None:
                    yield found


def _named(source: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[Reference]:
    """Return what a part of a template names and must find."""
    for key, kind in kinds.items():
        held = source.get(key)
        if held and not held.get("optional"):
            keys = [item["key"] for item in held.get("items", [])] + ([held["key"]] if "key" in held else [])
            yield Reference(kind=kind, name=_name(held), keys=frozenset(keys))


def _source(workload: Workload, container: Mapping[str, Any], path: str) -> Reference | None:
    """Return the Secret or ConfigMap, with the one key, that is behind a file of a container."""
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        folder = PurePosixPath(mount["mountPath"])
        if "subPath" in mount or not PurePosixPath(path).is_relative_to(folder) or mount["name"] not in volumes:
            continue
        file = str(PurePosixPath(path).relative_to(folder))
        for source in _sources(volumes[mount["name"]]):
            for key, kind in _VOLUME_KINDS.items():
                held = source.get(key)
                if held is not None and (chosen := _key(held, file)) is not None:
                    return Reference(kind=kind, name=_name(held), keys=frozenset({chosen}))
    return None


def _sources(volume: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a volume's sources: itself, and what it projects."""
    return [volume, *volume.get("projected", {}).get("sources", [])]


def _name(held: Mapping[str, Any]) -> str:
    """Return the name of what is referred to; a secret's volume calls it otherwise than all others."""
    return str(held.get("secretName") or held.get("name", ""))


def _key(held: Mapping[str, Any], file: str) -> str | None:
    """Return the key that becomes a file; without a list of items every key does."""
    if not held.get("items"):
        return file
    return next((item["key"] for item in held["items"] if item["path"] == file), None)


def _slept(hook: Mapping[str, Any]) -> float:
    if "sleep" in hook:
        return float(hook["sleep"].get("seconds", 0))
    words = " ".join(hook.get("exec", {}).get("command", [])).split()
    if "sleep" in words[:-1]:
        seconds = words[words.index("sleep") + 1].rstrip("s;")
        return float(seconds) if seconds.replace(".", "", 1).isdecimal() else 0.0
    return 0.0
