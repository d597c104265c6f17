"""The chart is of the project's version, and so are the images it runs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_chart_application_and_images_are_of_the_projects_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((ROOT / "helm" / "warren" / "Chart.yaml").read_text())
    values = yaml.safe_load((ROOT / "helm" / "warren" / "values.yaml").read_text())

    assert {chart["version"], chart["appVersion"], values["image"]["tag"]} == {version}
