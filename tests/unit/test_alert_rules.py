from __future__ import annotations

from pathlib import Path

import yaml

from warren.metrics import VOCABULARY

RULES = Path(__file__).parents[2] / "docs" / "how-to" / "alerts" / "warren-rules.yaml"


def test_the_rules_for_prometheus_are_whole_and_use_metrics_that_exist() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    names = {metric.name for metric in VOCABULARY}

    assert [rule["alert"] for rule in group["rules"]] == ["WarrenUnroutableJobs"]
    for rule in group["rules"]:
        assert {"expr", "for", "labels", "annotations"} <= rule.keys()
        assert any(name in rule["expr"] for name in names)
