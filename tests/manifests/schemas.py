"""Validate manifests as strictly as an API server with `--validate=strict` would, without one.

Kubernetes' own kinds by the schemas that the package `kubernetes-validate` carries, custom kinds by their CRDs. Rules
that a CRD says in CEL (`x-kubernetes-validations`), and those an API server keeps in code, are not evaluated.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate

from manifests.documents import Manifest, read_all

CRDS = Path(__file__).parents[2] / ".tools" / "crds"
OLDEST = "1.33"
NEWEST = kubernetes_validate.latest_version().rpartition(".")[0]
VERSIONS = (OLDEST, NEWEST)

_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
_DEFINITIONS = "https://kubernetes.io/api/_definitions.json"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class UnknownKindError(Exception):
    """A manifest is of a kind that neither this Kubernetes nor a CRD of ours has."""


def faults(manifest: Manifest, version: str) -> list[str]:
    """Return what is wrong with a manifest, by the schemas of one Kubernetes (`1.33`); nothing if it is right."""
    validator = _validator(str(manifest.get("apiVersion")), str(manifest.get("kind")), version)
    name = f"{manifest.get('kind')}/{(manifest.get('metadata') or {}).get('name')}"
    return [
        f"{name}: {'.'.join(map(str, error.instance_path)) or 'it'}: {error.message}"
        for error in validator.iter_errors(manifest)
    ]


@cache
def _validator(api_version: str, kind: str, version: str) -> Any:
    custom = _custom().get((api_version, kind))
    if custom is not None:
        return jsonschema_rs.validator_for(custom, registry=_registry(version))
    # rbac.authorization.k8s.io/v1 is in the file role-rbac-v1.json, as kubernetes-validate looks for it.
    short = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    file = _folder(version) / f"{kind.lower()}-{short}.json"
    if not file.exists():
        raise UnknownKindError(f"Kubernetes {version} has no {kind} of {api_version}, and .tools/crds has none either")
    schema = json.loads(file.read_text(encoding="utf-8"))
    for field in ("apiVersion", "kind"):
        # The published schemas let both be null.
        schema["properties"][field]["type"] = "string"
    schema["required"] = sorted({*schema.get("required", []), "apiVersion", "kind", "metadata"})
    return jsonschema_rs.validator_for(schema, registry=_registry(version))


@cache
def _registry(version: str) -> Any:
    definitions = json.loads((_folder(version) / "_definitions.json").read_text(encoding="utf-8"))
    return jsonschema_rs.Registry([(_DEFINITIONS, definitions)])


def _folder(version: str) -> Path:
    found = sorted(_SCHEMAS.glob(f"v{version}.*-local-strict"))
    if not found:
        raise UnknownKindError(f"kubernetes-validate has no schemas of Kubernetes {version}")
    return found[-1]


@cache
def _custom() -> dict[tuple[str, str], dict[str, Any]]:
    """Read every CRD: the schema of each version that is served."""
    found = {}
    for file in sorted(CRDS.glob("*.yaml")):
        for crd in read_all(file.read_text(encoding="utf-8")):
            spec = crd["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                    found[key] = _root(version["schema"]["openAPIV3Schema"])
    if not found:
        raise UnknownKindError(f"{CRDS} has no custom resource definitions: run make tools")
    return found


def _root(schema: dict[str, Any]) -> dict[str, Any]:
    closed = close(schema)
    closed["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    # An API server adds these three to every kind.
    closed["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": f"{_DEFINITIONS}#/$defs/{_META}"},
    }
    closed["required"] = sorted({*closed.get("required", []), "apiVersion", "kind", "metadata"})
    return closed


def close(schema: dict[str, Any]) -> dict[str, Any]:
    """Turn a structural schema (OpenAPI 3.0) into JSON Schema that refuses what an API server would drop or refuse."""
    closed = {key: value for key, value in schema.items() if key not in {"description", "default", "nullable"}}
    if "properties" in closed:
        closed["properties"] = {name: close(child) for name, child in closed["properties"].items()}
    if isinstance(closed.get("items"), dict):
        closed["items"] = close(closed["items"])
    if isinstance(closed.get("additionalProperties"), dict):
        closed["additionalProperties"] = close(closed["additionalProperties"])
    elif "properties" in closed and not closed.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
        if closed.get("x-kubernetes-embedded-resource"):
            closed["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        # Booleans in OpenAPI 3.0, numbers in JSON Schema.
        if closed.pop(exclusive, False) is True:
            closed[exclusive] = closed.pop(bound)
    if schema.get("nullable") and "type" in closed:
        closed["type"] = [closed["type"], "null"]
    return closed
