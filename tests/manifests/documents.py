"""Manifests as values: read strictly, named, and asked for their parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Manifest = dict[str, Any]

CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Namespace",
    "PriorityClass",
    "StorageClass",
}
"""Kinds of what we may ship that live in no namespace."""


class _StrictLoader(yaml.CSafeLoader):
    """Refuses a mapping that says one key twice, as a template that repeats a label does."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_all(text: str) -> list[Manifest]:
    """Read every document of a stream; empty ones are dropped."""
    return [found for found in yaml.load_all(text, Loader=_StrictLoader) if found]


def read(text: str) -> Any:
    """Read one document."""
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - it is a safe loader


@dataclass(frozen=True, order=True)
class Identity:
    """What tells an object from all others in a cluster."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def identity(manifest: Manifest, namespace: str = "") -> Identity:
    """Name an object; `namespace` is where it goes if it does not say."""
    metadata = manifest["metadata"]
    where = "" if manifest["kind"] in CLUSTER_SCOPED else metadata.get("namespace", namespace)
    group = manifest["apiVersion"].rpartition("/")[0]
    return Identity(group, manifest["kind"], where, metadata["name"])


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> list[Manifest]:
    """Return the objects of some kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def pod_template(manifest: Manifest) -> Manifest | None:
    """Return the pod that an object makes: its `metadata` and `spec`."""
    spec = manifest.get("spec") or {}
    match manifest["kind"]:
        case "Pod":
            return manifest
        case "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job":
            return spec["template"]
        case "CronJob":
            return spec["jobTemplate"]["spec"]["template"]
        case "ScaledJob":
            return spec["jobTargetRef"]["template"]
    return None


def pods(manifests: Iterable[Manifest]) -> list[tuple[Manifest, Manifest]]:
    """Return each object that makes pods, with its pod."""
    return [(manifest, pod) for manifest in manifests if (pod := pod_template(manifest)) is not None]


def containers(pod: Manifest) -> list[tuple[str, Manifest]]:
    """Return every container of a pod with its path in it, init and ephemeral ones included."""
    lists = ("initContainers", "containers", "ephemeralContainers")
    return [
        (f"spec.{group}[{number}]", container)
        for group in lists
        for number, container in enumerate(pod["spec"].get(group) or [])
    ]


def labels(manifest: Manifest) -> dict[str, str]:
    """Return an object's or pod's labels."""
    return (manifest.get("metadata") or {}).get("labels") or {}


def is_hook(manifest: Manifest) -> bool:
    """Whether Helm runs the object at an event instead of keeping it."""
    return "helm.sh/hook" in ((manifest["metadata"].get("annotations")) or {})


def selects(selector: Manifest, found: dict[str, str]) -> bool:
    """Apply a label selector (`matchLabels`, `matchExpressions`) to labels."""
    if any(found.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(expression, found) for expression in selector.get("matchExpressions") or [])


def _expression(expression: Manifest, found: dict[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    match operator:
        case "In":
            return found.get(key) in expression["values"]
        case "NotIn":
            return found.get(key) not in expression["values"]
        case "Exists":
            return key in found
        case "DoesNotExist":
            return key not in found
    raise ValueError(f"a selector has the operator {operator!r}")


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk to every scalar (and empty collection) of a tree, with its path."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from leaves(child, (*path, str(key)))
    elif isinstance(value, list) and value:
        for number, child in enumerate(value):
            yield from leaves(child, (*path, str(number)))
    else:
        yield path, value


def branches(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Walk to every mapping of a tree, with its path."""
    if isinstance(value, dict):
        yield path, value
        for key, child in value.items():
            yield from branches(child, (*path, str(key)))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from branches(child, (*path, str(number)))
