"""Rules of our own for what the charts render: names, images, secrets, references and pods."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from manifests.documents import (
    Manifest,
    containers,
    identity,
    labels,
    leaves,
    of_kind,
    pod_template,
    pods,
)

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123 label."""
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1035 label."""
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
IMAGE = re.compile(r"([\w.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?", re.ASCII)
SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|CREDENTIAL|PRIVATE_KEY", re.IGNORECASE)
URL_LOGIN = re.compile(r"[a-z][a-z0-9+]*://[^/@\s]*:[^/@\s]+@")
LONGEST = {"CronJob": 52, "StatefulSet": 52, "RabbitmqCluster": 45}
"""Names that others are made of: Kubernetes and the operator append to them and put the result into labels."""
STANDARD_LABELS = ("name", "instance", "version", "managed-by", "part-of")


def faults(manifests: Iterable[Manifest], release: str, namespace: str) -> list[str]:
    """Return what breaks a rule in one render, all rules together."""
    manifests = list(manifests)
    found = [
        *_names(manifests, namespace),
        *_labels(manifests, release),
        *_images(manifests),
        *_plain_secrets(manifests),
    ]
    for owner, pod in pods(manifests):
        found += [f"{identity(owner)}: {fault}" for fault in _pod(pod)]
    return found


def _names(manifests: list[Manifest], namespace: str) -> Iterator[str]:
    count = Counter(identity(manifest, namespace) for manifest in manifests)
    for which, times in count.items():
        if times > 1:
            yield f"{which} is there {times} times"
        if which.namespace not in ("", namespace):
            yield f"{which} goes into the namespace {which.namespace}, not into the release's"
        # The operator makes a Service of the cluster's name.
        pattern = SERVICE if which.kind in ("Service", "RabbitmqCluster") else LABEL
        longest = LONGEST.get(which.kind, 63)
        if not pattern.fullmatch(which.name) or len(which.name) > longest:
            yield f"{which} has a name that is no DNS label of at most {longest} characters"


def _labels(manifests: list[Manifest], release: str) -> Iterator[str]:
    for manifest in manifests:
        which = identity(manifest)
        metadata = [manifest, pod] if (pod := pod_template(manifest)) is not None else [manifest]
        for key, value in (pair for one in metadata for pair in labels(one).items()):
            if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
                yield f"{which}: label {key} is {value!r}"
        for key in STANDARD_LABELS:
            if f"app.kubernetes.io/{key}" not in labels(manifest):
                yield f"{which} has no label app.kubernetes.io/{key}"
        if labels(manifest).get("app.kubernetes.io/instance", release) != release:
            yield f"{which} says it is of another release: {labels(manifest)['app.kubernetes.io/instance']}"


def _images(manifests: list[Manifest]) -> Iterator[str]:
    found = [(owner, container["image"]) for owner, pod in pods(manifests) for _, container in containers(pod)]
    found += [(cluster, cluster["spec"]["image"]) for cluster in of_kind(manifests, "RabbitmqCluster")]
    for owner, image in found:
        name, _, digest = image.partition("@")
        if not IMAGE.fullmatch(name):
            yield f"{identity(owner)} has the image {image}, which is no reference"
        tag = name.rpartition("/")[2].partition(":")[2]
        if not (tag or digest) or (tag == "latest" and not digest):
            yield f"{identity(owner)} has the image {image}, which moves"
        if digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            yield f"{identity(owner)} has the image {image}, whose digest is none"


def _plain_secrets(manifests: list[Manifest]) -> Iterator[str]:
    """Yield secrets in the open: in URLs anywhere, and in variables whose name says what they hold."""
    for manifest in manifests:
        for path, value in leaves(manifest):
            if isinstance(value, str) and URL_LOGIN.search(value):
                yield f"{identity(manifest)}: {'.'.join(path)} holds a URL with a password"
    for owner, pod in pods(manifests):
        for _, container in containers(pod):
            for variable in container.get("env") or []:
                name, value = variable["name"], variable.get("value")
                if value and SECRET_NAME.search(name) and not name.endswith("_FILE"):
                    yield f"{identity(owner)}: {name} is said in the open"


def generated(manifests: Iterable[Manifest], again: Iterable[Manifest]) -> dict[str, set[tuple[str, ...]]]:
    """Return what two renders of the same values differ in: by object, the paths of random values."""
    others = {str(identity(manifest)): dict(leaves(manifest)) for manifest in again}
    return {
        name: paths
        for manifest in manifests
        for name in [str(identity(manifest))]
        if (paths := {path for path, value in leaves(manifest) if others[name].get(path) != value})
    }


def _pod(pod: Manifest) -> Iterator[str]:
    """Yield what a pod lacks beyond the restricted profile, and what does not fit together in it."""
    spec = pod["spec"]
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
    # Only the scaler asks Kubernetes for anything.
    asks = labels(pod).get("app.kubernetes.io/component") == "scaler"
    if spec.get("automountServiceAccountToken") is not asks:
        yield f"spec.automountServiceAccountToken is not {str(asks).lower()}"
    for name, volume in volumes.items():
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"spec.volumes {name!r} may fill the node: no emptyDir.sizeLimit"
    used = set()
    for path, container in containers(pod):
        yield from (f"{path}.{fault}" for fault in _container(container))
        for mount in container.get("volumeMounts") or []:
            used.add(mount["name"])
            if mount["name"] not in volumes:
                yield f"{path}.volumeMounts has {mount['name']}, which is no volume"
    for name in volumes.keys() - used:
        yield f"spec.volumes {name!r} is mounted nowhere"


def _container(container: Manifest) -> Iterator[str]:
    if not (container.get("securityContext") or {}).get("readOnlyRootFilesystem"):
        yield "securityContext.readOnlyRootFilesystem is not true"
    resources = container.get("resources") or {}
    if not {"cpu", "memory"} <= (resources.get("requests") or {}).keys():
        yield "resources.requests lacks cpu or memory"
    if "memory" not in (resources.get("limits") or {}):
        yield "resources.limits lacks memory"
    variables = Counter(variable["name"] for variable in container.get("env") or [])
    yield from (f"env has {name} {times} times" for name, times in variables.items() if times > 1)
    mounts = Counter(mount["mountPath"] for mount in container.get("volumeMounts") or [])
    yield from (f"volumeMounts has {path} {times} times" for path, times in mounts.items() if times > 1)
    for variable in container.get("env") or []:
        if not isinstance(variable.get("value", ""), str):
            yield f"env {variable['name']} is {variable['value']!r}, which is no text"


def missing_references(manifests: Iterable[Manifest], values: Any) -> list[str]:
    """Return what pods refer to that neither the release makes nor the values name.

    Args:
        manifests: A render.
        values: All values it came of, defaults included: a name among them is the user's own object.
    """
    manifests = list(manifests)
    made = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    given = {value for _, value in leaves(values) if isinstance(value, str)}
    return [
        f"{identity(owner)} refers to the {kind} {name}, which nobody makes"
        for owner, pod in pods(manifests)
        for kind, name in sorted(_references(pod))
        if (kind, name) not in made and name not in given and (kind, name) != ("ServiceAccount", "default")
    ]


def _references(pod: Manifest) -> Iterator[tuple[str, str]]:
    spec = pod["spec"]
    if account := spec.get("serviceAccountName"):
        yield "ServiceAccount", account
    for volume in spec.get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            yield from _named(source, "configMap", "secret")
    for _, container in containers(pod):
        for variable in container.get("env") or []:
            yield from _named(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")


def _named(source: Manifest, config_map: str, secret: str) -> Iterator[tuple[str, str]]:
    if config_map in source:
        yield "ConfigMap", source[config_map]["name"]
    if secret in source:
        # A volume of its own says secretName, a projected one says name.
        yield "Secret", source[secret].get("secretName") or source[secret]["name"]
