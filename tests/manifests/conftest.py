"""Cases of the suites: every values file of every chart."""

from __future__ import annotations

import pytest

import gotools
from manifests.charts import CHARTS, HELMS
from manifests.schemas import CRDS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for `chart` each chart, one that asks for `case` too each of its values files."""
    if "case" in metafunc.fixturenames:
        pairs = [(chart, case) for chart in CHARTS for case in chart.cases()]
        metafunc.parametrize(("chart", "case"), pairs, ids=[f"{chart.name}-{case}" for chart, case in pairs])
    elif "chart" in metafunc.fixturenames:
        metafunc.parametrize("chart", CHARTS, ids=[chart.name for chart in CHARTS])


@pytest.fixture(autouse=True, scope="session")
def _tools() -> None:
    """Say at once what is missing: nothing here is skipped for want of a program."""
    for name in (*HELMS, "kustomize", "promtool"):
        gotools.command(name)
    if not CRDS.exists():
        raise gotools.ToolError(f"{CRDS} is not there: run make tools")
