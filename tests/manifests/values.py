"""Random values of a chart: what values.schema.json allows, a few at a time over a values file that renders."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from manifests.charts import Chart, Values

Schema = dict[str, Any]
Path = tuple[str, ...]

_LABELS: list[Any] = [{}, {"team": "jobs"}, {"example.com/tier": "true"}]
_RESOURCES = [{"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}]
FREE: dict[str, list[Any]] = {
    "affinity": [
        {},
        {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}
                    ]
                }
            }
        },
    ],
    "annotations": [{}, {"example.com/note": 'it\'s "quoted": yes'}, {"example.com/on": "true"}],
    "podAnnotations": [{}, {"example.com/note": "#1: {x}"}, {"example.com/number": "1e3"}],
    "labels": _LABELS,
    "additionalLabels": _LABELS,
    "commonLabels": _LABELS,
    "podLabels": _LABELS,
    "matchLabels": _LABELS,
    "nodeSelector": _LABELS,
    "tolerations": [[], [{"key": "jobs", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]],
    "resources": _RESOURCES,
    "extraEnv": [[], [{"name": "TZ", "value": "UTC"}, {"name": "EMPTY", "value": ""}]],
    "extraEnvFrom": [[], [{"configMapRef": {"name": "extra", "optional": True}}]],
    "files": [{}, {"my_tasks.py": "import warren\n\n# {{ not a template }}\n"}],
    "peers": [[], [{"podSelector": {"matchLabels": {"app": "x"}}}], [{"ipBlock": {"cidr": "10.0.0.0/8"}}]],
    "egress": [[], [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}]],
    "ingress": [[], [{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 5671}]}]],
}
"""Values of fields whose shape is Kubernetes' own, by the field's name."""
ALIASES = {
    "serverFrom": "peers",
    "brokerTo": "peers",
    "storeTo": "peers",
    "clients": "peers",
    "extraEgress": "egress",
    "extraIngress": "ingress",
}
PAIRED = {
    "extraVolumes",
    "extraVolumeMounts",
    "extraInitContainers",
    "extraContainers",
    "extraManifests",
    "podSecurityContext",
    "securityContext",
}
"""Fields left alone: valid only with another, or whole objects of the user's own, by the user's own rules."""
WORDS = [
    "a",
    "true",
    "on",
    "0",
    "123",
    "1e3",
    "it's",
    'say "so"',
    "a: b",
    "# no",
    "{x}",
    "ünïcödé",
    "-",
    "*",
    "null",
    "~",
]
"""Texts that a template must quote."""


def random_values(chart: Chart) -> st.SearchStrategy[Values]:
    """Draw values: one of the chart's values files with up to four values changed."""
    schema = chart.schema
    bases = [{key: value for key, value in case.items() if key not in PAIRED} for case in chart.cases().values()]
    places = [(path, found) for path, found in properties(schema, schema) if not set(path) & PAIRED]

    @st.composite
    def draw_values(draw: st.DrawFn) -> Values:
        values = copy.deepcopy(draw(st.sampled_from(bases)))
        for path, found in draw(st.lists(st.sampled_from(places), max_size=4, unique_by=lambda place: place[0])):
            _put(values, draw(_named(path, chart.values)), draw(_of(found, schema, path)))
        return values

    return draw_values()


def properties(schema: Schema, root: Schema, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Walk to every value that a schema describes; the entry of a map is called `*`."""
    schema = resolve(schema, root)
    for name, child in (schema.get("properties") or {}).items():
        found = resolve(child, root)
        if not found.get("properties"):
            yield (*path, name), found
        yield from properties(found, root, (*path, name))
    entry = schema.get("additionalProperties")
    if isinstance(entry, dict):
        found = resolve(entry, root)
        if found.get("properties"):
            yield from properties(found, root, (*path, "*"))


def resolve(schema: Schema, root: Schema) -> Schema:
    """Follow `$ref` within a document; what stands beside it is kept."""
    while "$ref" in schema or "allOf" in schema:
        # One definition with words of its own beside it: `allOf` of a reference, as draft 7 wants it.
        reference = schema["$ref"] if "$ref" in schema else schema["allOf"][0]["$ref"]
        found: Any = root
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        schema = found | {key: value for key, value in schema.items() if key not in {"$ref", "allOf"}}
    return schema


def _named(path: Path, values: Values) -> st.SearchStrategy[Path]:
    """Choose the entries of maps on a path: one that values.yaml has, or a new one."""
    if "*" not in path:
        return st.just(path)
    place = path.index("*")
    found: Any = values
    for part in path[:place]:
        found = found.get(part) or {}
    names = st.sampled_from([*found, "extra"])
    return names.flatmap(lambda name: _named((*path[:place], name, *path[place + 1 :]), values))


def _put(values: Values, path: Path, value: Any) -> None:
    for part in path[:-1]:
        below = values.get(part)
        if not isinstance(below, dict):
            below = values[part] = {}
        values = below
    values[path[-1]] = value


def _of(schema: Schema, root: Schema, path: Path) -> st.SearchStrategy[Any]:
    """Return values a schema allows."""
    schema = resolve(schema, root)
    name = ALIASES.get(path[-1], path[-1])
    if name in FREE and "properties" not in schema:
        return st.sampled_from(FREE[name])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return st.one_of([_of(choice | {"description": ""}, root, path) for choice in schema[union]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kinds = schema.get("type", "object")
    if isinstance(kinds, list):
        return st.one_of([_of(schema | {"type": kind}, root, path) for kind in kinds if kind != "null"])
    return _of_kind(kinds, schema, root, path)


def _of_kind(kind: str, schema: Schema, root: Schema, path: Path) -> st.SearchStrategy[Any]:
    match kind:
        case "boolean":
            return st.booleans()
        case "integer":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
            return st.integers(low, schema.get("maximum", low + 100_000))
        case "number":
            low = schema.get("minimum", 0)
            return st.floats(low, schema.get("maximum", low + 1000))
        case "string":
            return _text(schema)
        case "array":
            items = _of(schema.get("items", {"type": "object"}), root, path)
            unique = repr if schema.get("uniqueItems") else None
            least = schema.get("minItems", 0)
            return st.lists(items, min_size=least, max_size=max(2, least), unique_by=unique)
        case "object":
            return _mapping(schema, root, path)
    raise ValueError(f"{'.'.join(path)} has the type {kind!r}")


def _text(schema: Schema) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 64)
    if "pattern" in schema:
        # JSON Schema's `$` is the very end; Python's would let a line feed follow.
        pattern = schema["pattern"].replace("$", r"\Z") if schema["pattern"].endswith("$") else schema["pattern"]
        some = st.from_regex(pattern, fullmatch=pattern.startswith("^")).filter(
            lambda text: least <= len(text) <= most and text.isprintable() and text.isascii()
        )
        tricky = [word for word in ("", *WORDS) if least <= len(word) <= most and re.search(pattern, word)]
        return st.sampled_from(tricky) | some if tricky else some
    return st.sampled_from(WORDS if least else ["", *WORDS])


def _mapping(schema: Schema, root: Schema, path: Path) -> st.SearchStrategy[Any]:
    if "properties" in schema:
        required = schema.get("required", [])
        fields = {name: _of(child, root, (*path, name)) for name, child in schema["properties"].items()}
        return st.fixed_dictionaries(
            {name: fields[name] for name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    entry = schema.get("additionalProperties")
    if isinstance(entry, dict):
        keys = _text({"pattern": "^[a-z]{1,8}$"} | schema.get("propertyNames", {}))
        least = schema.get("minProperties", 0)
        return st.dictionaries(keys, _of(entry, root, (*path, "*")), min_size=least, max_size=max(2, least))
    return st.just({})


def merged(under: Values, over: Values) -> Values:
    """Merge values as Helm does: maps into each other, null takes a key away, anything else wins."""
    found = dict(under)
    for key, value in over.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = merged(found[key], value)
        else:
            found[key] = value
    return found
