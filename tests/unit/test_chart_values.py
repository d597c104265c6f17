"""The chart's schema, defaults and README say the same."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import chart_values  # noqa: E402

CHARTS = [ROOT / "helm" / name for name in chart_values.CHARTS]


def schema_of(chart: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((chart / "values.schema.json").read_text())
    return found


def rules(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, rule in {**node.get("properties", {}), **node.get("definitions", {})}.items():
        yield f"{path}.{name}", rule
        yield from rules(rule, f"{path}.{name}")
        yield from rules(rule.get("items", {}), f"{path}.{name}[]")


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_every_value_is_described_typed_and_closed(chart: Path) -> None:
    schema = schema_of(chart)
    found = [("", schema), *rules(schema)]

    assert len(found) > 50
    for path, rule in found:
        assert path == "" or rule.get("description", "").endswith("."), path
        assert {"type", "anyOf", "allOf", "$ref"} & rule.keys(), path
        if rule.get("type") == "object":
            assert "additionalProperties" in rule, path
            assert "properties" not in rule or rule["additionalProperties"] is False, path


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_every_default_is_in_the_schema_and_every_value_has_a_default(chart: Path) -> None:
    schema = schema_of(chart)
    values = yaml.safe_load((chart / "values.yaml").read_text())
    named = {path for path, _ in chart_values.leaves(schema, schema)}

    def held(node: Any, path: str) -> Iterator[str]:
        if path in named:
            yield path
        else:
            for name, value in node.items():
                yield from held(value, f"{path}.{name}" if path else name)

    assert set(held(values, "")) == named


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_every_value_is_used_by_a_template(chart: Path) -> None:
    schema = schema_of(chart)
    text = "\n".join(
        path.read_text()
        for path in chart.rglob("*")
        if path.suffix in (".yaml", ".tpl", ".txt") and "templates" in path.parts
    )
    whole = {"probes", "resources", "strategy", "securityContext", "podSecurityContext"}

    for path, _ in chart_values.leaves(schema, schema):
        parts = path.split(".")
        if whole & set(parts) or "topologyJob.secret" in path or ".secrets." in path:
            continue
        assert re.search(rf"\.{parts[-1]}\b", text) or f'"{parts[-1]}"' in text, path


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_the_readme_lists_the_values_as_they_are(chart: Path) -> None:
    assert (chart / "README.md").read_text() == chart_values.readme(chart), "run `make docs`"


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_chart_application_and_images_are_of_the_projects_version(chart: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())

    assert {described["version"], described["appVersion"], values["image"]["tag"]} == {version}
