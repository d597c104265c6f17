"""The charts' alerts, judged by Prometheus' own promtool: each fires when its cause lasts, and not otherwise.

`alerts/<chart>.yaml` has the values to render and, by alert, cases:

    case: what is the matter
    series: samples by series, one a minute, in promtool's notation (`0x4 1x20`, and `"0x4"`, which YAML takes for 4)
    quiet: times at which the alert does not fire
    fires: times at which it does; without any, the case is one where it never may
    labels: its labels then, besides the rule's own
    summary: its annotation then
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import gotools
from manifests.charts import CHARTS, Chart, Values, render
from manifests.documents import Manifest, of_kind, read
from warren.metrics import VOCABULARY

FOLDER = Path(__file__).parent / "alerts"
BY_HAND = Path(__file__).parents[2] / "docs" / "how-to" / "alerts" / "warren-rules.yaml"
EXPECTED: dict[str, Any] = {file.stem: read(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.yaml"))}
CASES = [
    pytest.param(chart, alert, case, id=f"{alert}: {case['case']}")
    for chart in CHARTS
    if chart.name in EXPECTED
    for alert, cases in EXPECTED[chart.name]["alerts"].items()
    for case in cases
]
ALERTS = [
    pytest.param(chart, alert, id=alert)
    for chart in CHARTS
    if chart.name in EXPECTED
    for alert in EXPECTED[chart.name]["alerts"]
]
SERIES = re.compile(r"(?P<name>[a-z_]+)\{(?P<labels>.*)\}")
TARGET_LABELS = {"namespace", "pod", "instance", "le"}
"""What Prometheus and histograms add to a metric's own labels."""


def groups(chart: Chart, values: Values) -> list[dict[str, Any]]:
    """Return the groups of rules that a chart makes of some values."""
    return [group for made in of_kind(render(chart, values), "PrometheusRule") for group in made["spec"]["groups"]]


@cache
def expected_groups(chart: Chart) -> list[dict[str, Any]]:
    """Return the groups that a chart makes of the values of its cases."""
    return groups(chart, EXPECTED[chart.name]["values"])


def rules(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rules of some groups."""
    for group in found:
        yield from group["rules"]


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in a folder."""
    return subprocess.run(
        [*gotools.command("promtool"), *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


def check(folder: Path, found: list[Manifest]) -> None:
    """Let promtool read rules: expressions, templates, durations, names."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": found}), encoding="utf-8")
    done = promtool(folder, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def try_case(folder: Path, found: list[dict[str, Any]], alert: str, case: dict[str, Any]) -> str:
    """Return what promtool says against a case, or nothing.

    Of the annotations only the summary is compared: the others are text for people, and `check` reads their templates.
    """
    [rule] = [rule for rule in rules(found) if rule["alert"] == alert]
    shown = {**rule, "annotations": {"summary": rule["annotations"]["summary"]}}
    firing = {
        "exp_labels": {**rule["labels"], **case.get("labels", {})},
        "exp_annotations": {"summary": case.get("summary")},
    }
    times: list[tuple[str, list[Any]]] = [(time, []) for time in case["quiet"]] + [
        (time, [firing]) for time in case.get("fires", [])
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case["series"].items()],
        "alert_rule_test": [{"eval_time": time, "alertname": alert, "exp_alerts": alerts} for time, alerts in times],
    }
    files = {
        "rules.yaml": {"groups": [{"name": "alerts", "rules": [shown]}]},
        "tests.yaml": {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]},
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    done = promtool(folder, "test", "rules", "tests.yaml")
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_promtool_reads_every_rule_of_every_values_file(chart: Chart, case: str, tmp_path: Path) -> None:
    found = groups(chart, chart.cases()[case])

    if found:
        check(tmp_path, found)


def test_promtool_reads_the_rules_for_those_without_the_charts(tmp_path: Path) -> None:
    check(tmp_path, read(BY_HAND.read_text(encoding="utf-8"))["groups"])


def test_every_alert_has_a_case_where_it_fires_and_one_where_it_never_does(chart: Chart) -> None:
    switched_on: Values = {"monitoring": {"prometheusRule": {"enabled": True}}}
    if "prometheusRule" not in chart.values.get("monitoring", {}):
        assert chart.name not in EXPECTED
        return

    cases = EXPECTED[chart.name]["alerts"]

    made = {rule["alert"] for rule in rules(expected_groups(chart))}
    assert made == cases.keys()
    assert {rule["labels"]["severity"] for rule in rules(expected_groups(chart))} <= {"warning", "critical"}
    assert made >= {rule["alert"] for rule in rules(groups(chart, switched_on))}
    assert [alert for alert, tried in cases.items() if not any("fires" in one for one in tried)] == []
    assert [alert for alert, tried in cases.items() if all("fires" in one for one in tried)] == []


@pytest.mark.parametrize(("of", "alert", "situation"), CASES)
def test_an_alert_fires_when_its_cause_lasts_and_not_otherwise(
    of: Chart, alert: str, situation: dict[str, Any], tmp_path: Path
) -> None:
    against = try_case(tmp_path, expected_groups(of), alert, situation)

    assert not against, against


def test_the_rule_for_those_without_the_charts_fires_as_the_charts_does(tmp_path: Path) -> None:
    by_hand = read(BY_HAND.read_text(encoding="utf-8"))["groups"]
    fires = EXPECTED["warren"]["alerts"]["WarrenUnroutableJobs"][0]

    against = try_case(tmp_path, by_hand, "WarrenUnroutableJobs", fires)

    assert not against, against


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"for": "0m"}, "time: 19m"),
        ({"for": "30m"}, "time: 20m"),
        ({"expr": "vector(0) > 1"}, "time: 20m"),
        ({"annotations": {"summary": "default"}}, "time: 20m"),
    ],
    ids=["at once", "too late", "never", "says something else"],
)
def test_a_rule_that_is_wrong_is_found(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    [warren] = [chart for chart in CHARTS if chart.name == "warren"]
    [right] = [rule for rule in rules(expected_groups(warren)) if rule["alert"] == "WarrenScalerAtMax"]
    wrong = {**right, **change}
    case = EXPECTED["warren"]["alerts"]["WarrenScalerAtMax"][0]

    found = try_case(tmp_path, [{"name": "wrong", "rules": [wrong]}], "WarrenScalerAtMax", case)

    assert "FAILED" in found
    assert said in found


@pytest.mark.parametrize(("of", "alert"), ALERTS)
def test_the_cases_of_an_alert_notice_one_that_fires_too_soon_or_too_late(
    of: Chart, alert: str, tmp_path: Path
) -> None:
    [right] = [rule for rule in rules(expected_groups(of)) if rule["alert"] == alert]
    minutes = int(right["for"].removesuffix("m"))

    for wrong in ("0m", f"{2 * minutes}m"):
        group = {"name": "wrong", "rules": [{**right, "for": wrong}]}
        cases = EXPECTED[of.name]["alerts"][alert]
        assert any(try_case(tmp_path, [group], alert, case) for case in cases), wrong


def test_the_cases_speak_of_metrics_that_exist_with_labels_that_they_have() -> None:
    ours = {metric.name: set(metric.labels) | TARGET_LABELS for metric in VOCABULARY}
    told = [
        name for cases in EXPECTED["warren"]["alerts"].values() for case in cases for name in case["series"].items()
    ]

    assert [series for series, values in told if not isinstance(values, str)] == []
    for series, _ in told:
        found = SERIES.fullmatch(series)
        assert found is not None, series
        name = found["name"].removesuffix("_bucket")
        labels = set(re.findall(r"(\w+)=", found["labels"]))
        assert name in ours, series
        assert labels <= ours[name], series
        assert ours[name] - TARGET_LABELS <= labels, series
