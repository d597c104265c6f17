"""The charts, and what Helm makes of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import gotools
from manifests.documents import Manifest, read, read_all
from manifests.schemas import CRDS, NEWEST

ROOT = Path(__file__).parents[2]
Values = dict[str, Any]

RELEASE = "warren"
NAMESPACE = "jobs"
HELMS = ("helm3", "helm4")


class RefusedError(Exception):
    """Helm does not render these values; the message is Helm's."""


@dataclass(frozen=True, order=True)
class Chart:
    """A chart of this repository, or one that a test made."""

    folder: Path

    @property
    def name(self) -> str:
        """The chart's name, its folder's."""
        return self.folder.name

    @property
    def schema(self) -> dict[str, Any]:
        """values.schema.json."""
        return json.loads((self.folder / "values.schema.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    @property
    def values(self) -> Values:
        """values.yaml."""
        return read((self.folder / "values.yaml").read_text(encoding="utf-8")) or {}

    def cases(self) -> dict[str, Values]:
        """Return values files by name: the defaults, ci/*-values.yaml and values-production.yaml."""
        files = {file.name.removesuffix("-values.yaml"): file for file in (self.folder / "ci").glob("*-values.yaml")}
        files |= {file.stem.removeprefix("values-"): file for file in self.folder.glob("values-*.yaml")}
        return {"default": {}} | {
            name: read(file.read_text(encoding="utf-8")) or {} for name, file in sorted(files.items())
        }

    def refusals(self) -> list[dict[str, Any]]:
        """Return ci/refusals.yaml: values that must not render, and what the message must say."""
        file = self.folder / "ci" / "refusals.yaml"
        return read(file.read_text(encoding="utf-8")) if file.exists() else []


CHARTS = tuple(sorted(Chart(file.parent) for file in (ROOT / "helm").glob("*/Chart.yaml")))


@cache
def all_capabilities() -> tuple[str, ...]:
    """Return every custom kind, as `.Capabilities.APIVersions` has them on a cluster with all operators."""
    found = set()
    for file in sorted(CRDS.glob("*.yaml")):
        for crd in read_all(file.read_text(encoding="utf-8")):
            for version in crd["spec"]["versions"]:
                group = f"{crd['spec']['group']}/{version['name']}"
                found |= {group, f"{group}/{crd['spec']['names']['kind']}"}
    return tuple(sorted(found))


def render(
    chart: Chart,
    values: Values,
    *,
    helm: str = "helm3",
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    kubernetes: str = NEWEST,
    capabilities: tuple[str, ...] | None = None,
) -> list[Manifest]:
    """Render a chart as `helm template` does, hooks and tests included.

    Args:
        chart: Which.
        values: What a user says beyond values.yaml.
        helm: `helm3` or `helm4`.
        release: The release's name.
        namespace: The release's namespace.
        kubernetes: The cluster's version.
        capabilities: Custom kinds the cluster has; all of ours by default.

    Raises:
        RefusedError: Helm says no.
    """
    kinds = all_capabilities() if capabilities is None else capabilities
    text = _template(chart, json.dumps(values, sort_keys=True), helm, release, namespace, kubernetes, kinds)
    return read_all(text)


@lru_cache(maxsize=256)
def _template(
    chart: Chart, values: str, helm: str, release: str, namespace: str, kubernetes: str, capabilities: tuple[str, ...]
) -> str:
    known = [argument for kind in capabilities for argument in ("--api-versions", kind)]
    arguments = ["template", release, str(chart.folder), "--namespace", namespace, "--kube-version", kubernetes]
    done = run_helm(helm, [*arguments, *known, "--values", "-"], values)
    if done.returncode:
        raise RefusedError(done.stderr.strip())
    return done.stdout


def run_helm(helm: str, arguments: list[str], entered: str = "") -> subprocess.CompletedProcess[str]:
    """Run Helm without a cluster and without the user's own settings."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
    return subprocess.run(
        [*gotools.command(helm), *arguments], env=environment, input=entered, capture_output=True, text=True, timeout=60
    )


def is_plain_refusal(message: str) -> bool:
    """Whether Helm refused by a rule of the chart, its schema or `fail`, and not because a template broke."""
    lines = [line for line in message.splitlines() if not line.startswith(("level=", "WARNING"))]
    text = "\n".join(lines)
    return bool(
        re.match(r"Error: (execution error at \(|values don't meet the specifications of the schema)", text)
        # A rule in a template that another includes; still one that was meant.
        or re.search(r": error calling fail: ", text)
    )
