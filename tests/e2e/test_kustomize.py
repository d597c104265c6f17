"""The plain manifests of `k8s/overlays/dev`, copied and made one's own as docs/how-to/kustomize.md says."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pytest

from e2e.commands import ROOT
from e2e.installation import Images, Installation, Stopwatch
from e2e.namespaces import Namespace


def overlay(folder: Path, namespace: str, images: Images) -> Path:
    """Copy the overlay `dev` beside the others, with a namespace and images of its own."""
    shutil.copytree(ROOT / "k8s", folder / "k8s")
    copy = shutil.copytree(folder / "k8s/overlays/dev", folder / "k8s/overlays/mine")
    kustomization = copy / "kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    assert "\nnamespace: warren-dev\n" in text
    names = "".join(
        f"  - name: warren-{program}\n    newName: {images.prefix}{program}\n    newTag: {images.tag}\n"
        for program in ("server", "worker", "scaler")
    )
    changed = text.replace("\nnamespace: warren-dev\n", f"\nnamespace: {namespace}\n")
    kustomization.write_text(f"{changed}images:\n{names}", encoding="utf-8")
    return copy


def test_the_overlay_dev_installs_and_does_the_round_trip(
    operators: None, images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Namespace("kustomize") as namespace:
        watch = Stopwatch()
        tokens = [f"--from-literal={key}=wrn_{secrets.token_hex(24)}" for key in ("token", "read-token")]
        namespace.kubectl("create", "secret", "generic", "warren-tokens", *tokens)
        namespace.kubectl("apply", "--kustomize", str(overlay(tmp_path, namespace.name, images)))
        installation = Installation(namespace, images)
        installation.wait_ready("warren-server", "warren-worker-default", timeout_seconds=240)
        watch.lap("all ready")

        with installation.client() as client:
            done = client.wait(client.submit("greet", {"name": "kustomize"}), timeout_seconds=60)
        watch.lap("first job done")

        with capsys.disabled():
            print(f"\nkubectl apply -k to a finished job: {watch}")
        assert done.result == "hello, kustomize"
        assert not installation.restarts()
