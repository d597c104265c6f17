"""Write `k8s/`, the kustomize tree, from the charts: what `helm template` renders, as base, components and overlays.

The charts are the source, so that both ways to install stay one. A component holds what its values add to a render, as
files, and what they change, as patches; an overlay patches the rest. `tests/manifests` holds the tree equal to this and
each overlay equal to the charts. Files that are kept by hand, such as the tasks, are left alone.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import gotools

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "k8s"
KUBERNETES = "1.33.0"
NAMESPACE = "warren"
CHARTS = ("warren-rabbitmq", "warren-topology", "warren")
HEAD = "# Written by `make k8s` from the charts; what is yours goes into an overlay.\n"

Manifest = dict[str, Any]
Values = dict[str, Any]
Files = dict[Path, str]

RABBITMQ_KINDS = ("RabbitmqCluster", "Vhost", "Exchange", "Queue", "Binding", "Policy", "User", "Permission")
CAPABILITIES = (
    *(f"rabbitmq.com/v1beta1/{kind}" for kind in RABBITMQ_KINDS),
    *(f"monitoring.coreos.com/v1/{kind}" for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")),
    *("keda.sh/v1alpha1", "keda.sh/v1alpha1/ScaledObject", "keda.sh/v1alpha1/TriggerAuthentication"),
    *("monitoring.coreos.com/v1", "rabbitmq.com/v1beta1"),
)
GROUPED = {
    "Vhost": "vhost",
    "Exchange": "exchanges",
    "Queue": "queues",
    "Binding": "bindings",
    "Policy": "policies",
    "User": "users",
    "Permission": "permissions",
}
"""Kinds of which there are so many that one file holds them all."""
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists that Kubernetes merges entry by entry, and the key that tells entries apart."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A part that an overlay may take.

    Attributes:
        about: What it is, for the head of its kustomization.
        chart: A chart that it is, or nothing.
        values: What it says to charts, by their names.
    """

    about: str
    chart: str | None = None
    values: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A whole installation.

    Attributes:
        about: What it is, for the head of its kustomization.
        namespace: Where it goes.
        components: The components it takes, in order.
        values: Values files of charts, by their names; the overlay's patches come from them.
    """

    about: str
    namespace: str
    components: tuple[str, ...]
    values: Mapping[str, str]


BASE: Values = {
    "tests": {"enabled": False},
    "tasks": {"modules": ["tasks"], "existingConfigMap": "warren-tasks"},
    "server": {"auth": {"existingSecret": {"name": "warren-tokens"}}},
}
COMPONENTS = {
    "rabbitmq": Component(about="RabbitMQ by its cluster operator.", chart="warren-rabbitmq"),
    "topology": Component(
        about="Virtual host, queues, policies and users by the messaging topology operator.", chart="warren-topology"
    ),
    "keda": Component(
        about="Workers by queue depth, from none; needs KEDA.",
        values={"warren": {"workerDefaults": {"autoscaling": {"mode": "keda"}}}},
    ),
    "scaler": Component(
        about="Workers by queue depth, from none, by Warren's own scaler; instead of keda.",
        values={"warren": {"workerDefaults": {"autoscaling": {"mode": "scaler"}}}},
    ),
    "monitoring": Component(
        about="Monitors and alerts; needs the Prometheus operator. After rabbitmq.",
        values={
            "warren": {
                "monitoring": {name: {"enabled": True} for name in ("serviceMonitor", "podMonitor", "prometheusRule")}
            },
            "warren-rabbitmq": {
                "monitoring": {name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule")}
            },
        },
    ),
    "network-policies": Component(
        about="Who may talk to whom; the cluster's network must enforce it.",
        values={name: {"networkPolicy": {"enabled": True}} for name in ("warren", "warren-rabbitmq")},
    ),
    "postgres-external": Component(
        about="The record of jobs in a PostgreSQL of yours: secret warren-postgresql, key url.",
        values={
            "warren": {
                "store": {
                    "mode": "postgresql",
                    "postgresql": {"existingSecret": {"name": "warren-postgresql", "urlKey": "url"}},
                }
            }
        },
    ),
}
OVERLAYS = {
    "dev": Overlay(
        about="One of each, on a small cluster.",
        namespace="warren-dev",
        components=("rabbitmq", "topology"),
        values={"warren-rabbitmq": "ci/tiny-values.yaml"},
    ),
    "production": Overlay(
        about="Three brokers, PostgreSQL, autoscaling, monitors, network policies.",
        namespace=NAMESPACE,
        components=tuple(name for name in COMPONENTS if name != "scaler"),
        values=dict.fromkeys(("warren-rabbitmq", "warren"), "values-production.yaml"),
    ),
}


def main() -> int:
    """Write the tree; files that it no longer has go."""
    wanted = tree()
    for file in generated_files() - set(wanted):
        file.unlink()
    for file, text in wanted.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return 0


def generated_files() -> set[Path]:
    """Return the files of the tree that this wrote."""
    return {file for file in TREE.rglob("*.yaml") if file.read_text(encoding="utf-8").startswith(HEAD)}


def tree() -> Files:
    """Return all generated files as they should be."""
    files: Files = {}
    everything = {name: chart_render(name, {}) for name in CHARTS}
    base = chart_render("warren", BASE)
    files |= _kustomization(TREE / "base", "Kustomization", "Server and workers.", base, tasks=True)
    for name, component in COMPONENTS.items():
        if component.chart:
            start, target = [], everything[component.chart]
        else:
            start = [*base, *everything["warren-rabbitmq"]]
            target = [
                *chart_render("warren", merged(BASE, component.values.get("warren", {}))),
                *chart_render("warren-rabbitmq", component.values.get("warren-rabbitmq", {})),
            ]
        files |= _part(TREE / "components" / name, "Component", component.about, start, target)
    for name, overlay in OVERLAYS.items():
        files |= _overlay(name, overlay, files)
    return files


def expected(overlay: Overlay) -> list[Manifest]:
    """Return what the charts render for an overlay."""
    found: list[Manifest] = []
    chosen = [COMPONENTS[name] for name in overlay.components]
    for chart in ("warren", *(component.chart for component in chosen if component.chart)):
        values: Values = BASE if chart == "warren" else {}
        for component in chosen:
            values = merged(values, component.values.get(chart, {}))
        found += chart_render(chart, merged(values, _values_file(chart, overlay)), overlay.namespace)
    return found


def _values_file(chart: str, overlay: Overlay) -> Values:
    if chart not in overlay.values:
        return {}
    return yaml.safe_load((ROOT / "helm" / chart / overlay.values[chart]).read_text(encoding="utf-8")) or {}


def chart_render(chart: str, values: Values, namespace: str = NAMESPACE) -> list[Manifest]:
    """Return what a chart renders, without what is Helm's own."""
    command = [*gotools.command("helm3"), "template", chart, str(ROOT / "helm" / chart), "--namespace", namespace]
    known = [argument for kind in CAPABILITIES for argument in ("--api-versions", kind)]
    done = subprocess.run(
        [*command, "--kube-version", KUBERNETES, *known, "--values", "-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"error: the chart {chart} does not render: {done.stderr.strip()}")
    return [without_namespace(plain(found)) for found in yaml.safe_load_all(done.stdout) if found]


def without_namespace(manifest: Manifest) -> Manifest:
    """Take away the namespace of an object, and of those it gives rights: kustomize then names the overlay's."""
    manifest["metadata"].pop("namespace", None)
    for subject in manifest.get("subjects", []):
        subject.pop("namespace", None)
    return manifest


def build(folder: Path) -> list[Manifest]:
    """Return what kustomize makes of a folder."""
    done = subprocess.run([*gotools.command("kustomize"), "build", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {folder} does not build: {done.stderr.strip()}")
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def plain(value: Any) -> Any:
    """Take away Helm's labels and annotations, and what would be left empty."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {key: plain(child) for key, child in value.items()}
    for name in ("labels", "annotations"):
        if isinstance(kept.get(name), dict):
            kept[name] = {key: text for key, text in kept[name].items() if not _is_helms(key)}
            if not kept[name]:
                del kept[name]
    return kept


def _is_helms(key: str) -> bool:
    return key.startswith(("helm.sh/", "meta.helm.sh/", "checksum/")) or key == "app.kubernetes.io/managed-by"


def merged(under: Values, over: Values) -> Values:
    """Lay values over others, as Helm does."""
    result = copy.deepcopy(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def key_of(manifest: Manifest) -> tuple[str, str]:
    """Tell an object from all others of a namespace."""
    return manifest["kind"], manifest["metadata"]["name"]


def _part(folder: Path, kind: str, about: str, start: Iterable[Manifest], target: Iterable[Manifest]) -> Files:
    """Return a kustomization that leads from one set of objects to another."""
    before, after = ({key_of(each): each for each in found} for found in (start, target))
    new = [each for key, each in after.items() if key not in before]
    return _kustomization(folder, kind, about, new, patches(before, after))


def patches(before: Mapping[tuple[str, str], Manifest], after: Mapping[tuple[str, str], Manifest]) -> list[Manifest]:
    """Return the patches for what is in both and differs, and for what is gone."""
    found = []
    for key, old in before.items():
        head = {name: old[name] for name in ("apiVersion", "kind")} | {"metadata": {"name": key[1]}}
        if key not in after:
            found.append({"$patch": "delete", **head})
        elif changes := difference(old, after[key], keyed=old["apiVersion"] in ("apps/v1", "batch/v1")):
            found.append(merged(head, changes))
    return found


def difference(old: Manifest, new: Manifest, *, keyed: bool) -> Manifest:
    """Return the patch that makes one object another: a strategic merge if `keyed`, else a plain one."""
    changes: Manifest = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if value == before:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            changes[key] = difference(before, value, keyed=keyed)
        elif keyed and key in MERGE_KEYS and isinstance(value, list) and isinstance(before, list):
            if entries := _entries(before, value, MERGE_KEYS[key]):
                changes[key] = entries
        else:
            changes[key] = value
    return changes


def _entries(old: list[Manifest], new: list[Manifest], name: str) -> list[Manifest]:
    before, after = ({entry[name]: entry for entry in entries} for entries in (old, new))
    changed = [
        {name: key, **difference(before[key], entry, keyed=True)} if key in before else entry
        for key, entry in after.items()
        if before.get(key) != entry
    ]
    return changed + [{"$patch": "delete", name: key} for key in before if key not in after]


def _kustomization(
    folder: Path,
    kind: str,
    about: str,
    resources: Iterable[Manifest],
    changes: Iterable[Manifest] = (),
    *,
    tasks: bool = False,
) -> Files:
    files: dict[str, list[Manifest]] = {}
    for manifest in resources:
        files.setdefault(_file_name(manifest), []).append(manifest)
    patched = {f"patch-{_file_name(manifest)}": [manifest] for manifest in changes}
    version = "v1alpha1" if kind == "Component" else "v1beta1"
    whole: Manifest = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind}
    if files:
        whole["resources"] = sorted(files)
    if tasks:
        whole["configMapGenerator"] = [{"name": "warren-tasks", "files": ["tasks.py"]}]
    if patched:
        whole["patches"] = [{"path": name} for name in sorted(patched)]
    return {folder / name: _text(*manifests) for name, manifests in (files | patched).items()} | {
        folder / "kustomization.yaml": _text(whole, about=about)
    }


def _overlay(name: str, overlay: Overlay, files: Files) -> Files:
    folder = TREE / "overlays" / name
    whole: Manifest = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": overlay.namespace,
        "resources": ["../../base"],
        "components": [f"../../components/{component}" for component in overlay.components],
    }
    replacements = {"replacements": _replacements(overlay)}
    with tempfile.TemporaryDirectory() as scratch:
        for file, text in (files | {folder / "kustomization.yaml": _text(whole | replacements)}).items():
            copied = Path(scratch) / file.relative_to(TREE)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_text(text, encoding="utf-8")
        tasks = "base/tasks.py"
        (Path(scratch) / tasks).write_text((TREE / tasks).read_text(encoding="utf-8"), encoding="utf-8")
        start = comparable(build(Path(scratch) / "overlays" / name))
    after = comparable(expected(overlay))
    found = _part(folder, "Kustomization", overlay.about, start.values(), after.values())
    rest = yaml.safe_load(found[folder / "kustomization.yaml"])
    resources = [*whole["resources"], *rest.get("resources", [])]
    whole |= {"resources": resources} | {key: rest[key] for key in ("patches",) if key in rest} | replacements
    return found | {folder / "kustomization.yaml": _text(whole, about=overlay.about)}


def comparable(manifests: Iterable[Manifest]) -> dict[tuple[str, str], Manifest]:
    """Return objects by kind and name, without what kustomize adds: the namespace, the digest in a ConfigMap's name."""
    found = {}
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"].startswith("warren-tasks"):
            continue
        whole = without_namespace(_without_digest(plain(manifest)))
        found[key_of(whole)] = whole
    return found


def _without_digest(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "warren-tasks" if key == "name" and str(child).startswith("warren-tasks-") else _without_digest(child)
            for key, child in value.items()
        }
    return [_without_digest(each) for each in value] if isinstance(value, list) else value


def _replacements(overlay: Overlay) -> list[Manifest]:
    """Have the namespace put into the broker's address, wherever it stands: a part between dots."""
    variable = "spec.template.spec.containers.[name={}].env.[name={}].value"
    targets = [
        ("Deployment", "warren-server", variable.format("server", "WARREN_AMQP_HOST")),
        ("Deployment", "warren-server", variable.format("server", "WARREN_AMQP_MANAGEMENT_URL")),
        ("Deployment", "warren-worker-default", variable.format("worker", "WARREN_AMQP_HOST")),
    ]
    if "scaler" in overlay.components:
        targets += [
            ("Deployment", "warren-scaler", variable.format("scaler", name))
            for name in ("WARREN_AMQP_HOST", "WARREN_AMQP_MANAGEMENT_URL")
        ]
    if "keda" in overlay.components:
        targets.append(("ScaledObject", "warren-worker-default", "spec.triggers.*.metadata.host"))
    source = {"kind": "Service", "name": "warren-server", "fieldPath": "metadata.namespace"}
    return [
        {
            "source": source,
            "targets": [
                {
                    "select": {"kind": kind, "name": name},
                    "fieldPaths": [path],
                    "options": {"delimiter": ".", "index": 1},
                }
                for kind, name, path in targets
            ],
        }
    ]


def _file_name(manifest: Manifest) -> str:
    kind, name = key_of(manifest)
    if kind in GROUPED:
        return f"{GROUPED[kind]}.yaml"
    return f"{name.removeprefix('warren-')}-{kind.lower()}.yaml"


class _Readable(yaml.SafeDumper):
    """Puts lists deeper than what holds them, and texts of several lines as they are."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _text(*manifests: Manifest, about: str = "") -> str:
    body = "---\n".join(yaml.dump(each, Dumper=_Readable, sort_keys=False, width=1000) for each in manifests)
    return HEAD + (f"# {about}\n" if about else "") + body


if __name__ == "__main__":
    sys.exit(main())
