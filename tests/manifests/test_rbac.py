"""Rights in the cluster: exactly those of rbac.yaml, so that a new one is seen in review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.charts import CHARTS, render
from manifests.documents import identity, of_kind, read

FROZEN = Path(__file__).parent / "rbac.yaml"


def test_charts_ask_for_exactly_the_frozen_rights() -> None:
    found: dict[str, dict[str, Any]] = {}
    for chart in CHARTS:
        rights: dict[str, Any] = {}
        for values in chart.cases().values():
            manifests = render(chart, values)
            rights |= {str(identity(role)): role["rules"] for role in of_kind(manifests, "Role", "ClusterRole")}
            for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
                rights[str(identity(binding))] = {"role": binding["roleRef"], "subjects": binding["subjects"]}
        found[chart.name] = rights

    assert found == read(FROZEN.read_text(encoding="utf-8"))
