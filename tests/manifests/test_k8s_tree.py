"""The kustomize tree: written from the charts, buildable, and the same as what the charts render."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import render_k8s
from manifests.documents import identity
from render_k8s import OVERLAYS, TREE


def test_the_tree_is_what_the_charts_come_to() -> None:
    wanted = render_k8s.tree()

    assert render_k8s.generated_files() == set(wanted)
    differing = [
        str(file.relative_to(TREE)) for file, text in wanted.items() if file.read_text(encoding="utf-8") != text
    ]
    assert differing == [], "run `make k8s`"


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_what_the_charts_render_but_for_labels_of_helm(name: str) -> None:
    made = render_k8s.comparable(render_k8s.build(TREE / "overlays" / name))

    wanted = render_k8s.comparable(render_k8s.expected(OVERLAYS[name]))

    assert set(made) == set(wanted)
    differing = [key for key in wanted if sorted_entries(made[key]) != sorted_entries(wanted[key])]
    assert differing == []


def sorted_entries(value: object) -> object:
    """Put lists whose entries have a key of their own into one order: a merge keeps entries and not their order."""
    if isinstance(value, dict):
        return {key: sorted_entries(child) for key, child in value.items()}
    if isinstance(value, list):
        entries = [sorted_entries(each) for each in value]
        keyed = all(isinstance(each, dict) and {"name", "mountPath"} & set(each) for each in entries)
        return sorted(entries, key=lambda each: json.dumps(each, sort_keys=True)) if keyed else entries
    return value


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_puts_all_into_its_namespace_and_addresses_the_broker_there(name: str) -> None:
    overlay = OVERLAYS[name]
    made = render_k8s.build(TREE / "overlays" / name)

    assert {manifest["metadata"].get("namespace") for manifest in made} == {overlay.namespace}
    hosts = set(re.findall(r"warren-rabbitmq\.([a-z0-9-]+)\.svc", yaml.safe_dump_all(made)))
    assert hosts == {overlay.namespace}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_object_of_an_overlay_is_there_twice(name: str) -> None:
    made = render_k8s.build(TREE / "overlays" / name)

    assert len({identity(manifest) for manifest in made}) == len(made)


def test_tasks_reach_server_and_workers_under_the_name_of_their_content() -> None:
    made = render_k8s.build(TREE / "overlays" / "dev")

    [tasks] = [manifest for manifest in made if manifest["kind"] == "ConfigMap"]
    assert "def greet" in tasks["data"]["tasks.py"]
    assert re.fullmatch(r"warren-tasks-[a-z0-9]{10}", tasks["metadata"]["name"])
    for manifest in made:
        if manifest["kind"] == "Deployment":
            assert tasks["metadata"]["name"] in json.dumps(manifest["spec"]["template"]["spec"]["volumes"])


def test_an_overlay_without_a_component_builds_too(tmp_path: Path) -> None:
    """Kustomize is what puts components together: any choice of them must do."""
    for name in ("postgres-external", "keda", "network-policies"):
        (tmp_path / name).mkdir()
        text = yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [relative(tmp_path / name, TREE / "base")],
                "components": [relative(tmp_path / name, TREE / "components" / name)],
            }
        )
        (tmp_path / name / "kustomization.yaml").write_text(text, encoding="utf-8")

        assert render_k8s.build(tmp_path / name)


def test_the_scalers_rights_go_to_its_account_in_the_overlays_namespace(tmp_path: Path) -> None:
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "elsewhere",
        "resources": [relative(tmp_path, TREE / "base")],
        "components": [relative(tmp_path, TREE / "components/scaler")],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    made = render_k8s.build(tmp_path)

    (account,) = [one for one in made if one["kind"] == "ServiceAccount" and "scaler" in one["metadata"]["name"]]
    (binding,) = [one for one in made if one["kind"] == "RoleBinding"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "elsewhere"}
    ]


def relative(start: Path, target: Path) -> str:
    return os.path.relpath(target, start)


def test_kubectl_builds_the_overlays_with_what_it_has_built_in() -> None:
    try:
        version = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("kubectl is not on PATH")
    assert version.returncode == 0

    for name in OVERLAYS:
        done = subprocess.run(
            ["kubectl", "kustomize", str(TREE / "overlays" / name)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert list(yaml.safe_load_all(done.stdout)) == render_k8s.build(TREE / "overlays" / name)


@pytest.mark.parametrize(
    ("old", "new", "keyed", "patch"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, True, {"b": 3}),
        ({"a": 1, "b": 2}, {"a": 1}, True, {"b": None}),
        ({"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, False, {"a": {"x": 2}}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}, {"name": "C", "value": "1"}]},
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "D", "value": "1"}]},
            True,
            {"env": [{"name": "B", "value": "2"}, {"name": "D", "value": "1"}, {"$patch": "delete", "name": "C"}]},
        ),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "B"}]}, False, {"env": [{"name": "B"}]}),
        ({"args": ["a"]}, {"args": ["b"]}, True, {"args": ["b"]}),
    ],
)
def test_a_patch_holds_what_differs_and_no_more(old: object, new: object, keyed: bool, patch: object) -> None:
    assert render_k8s.difference(old, new, keyed=keyed) == patch  # type: ignore[arg-type]
