"""The metrics vocabulary."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from warren.metrics import VOCABULARY, Metric, counter, gauge, histogram, task_label

MAKERS = {"counter": counter, "gauge": gauge, "histogram": histogram}
LABELS = {
    "queue",
    "task",
    "outcome",
    "result",
    "route",
    "method",
    "status",
    "state",
    "reason",
    "worker_set",
    "part",
}


@pytest.mark.parametrize("metric", VOCABULARY, ids=lambda metric: metric.name)
def test_names_follow_the_rule_and_labels_are_bounded(metric: Metric) -> None:
    assert re.fullmatch(r"warren_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert set(metric.labels) <= LABELS
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")


def test_no_name_is_used_twice() -> None:
    names = [metric.name for metric in VOCABULARY]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("metric", VOCABULARY, ids=lambda metric: metric.name)
def test_every_metric_can_be_made_and_is_exported_under_its_name(metric: Metric) -> None:
    registry = CollectorRegistry()

    made = MAKERS[metric.kind](metric.name, registry)
    if metric.labels:
        made.labels(*(f"a-{label}" for label in metric.labels))

    assert f"# TYPE {metric.name} {metric.kind}" in generate_latest(registry).decode()


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_asking_twice_gives_the_same_metric(kind: str) -> None:
    registry = CollectorRegistry()
    name = next(metric.name for metric in VOCABULARY if metric.kind == kind)

    assert MAKERS[kind](name, registry) is MAKERS[kind](name, registry)


def test_a_name_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(KeyError, match="warren_surprise_total"):
        counter("warren_surprise_total", CollectorRegistry())


def test_unknown_tasks_share_one_label_so_that_labels_stay_bounded() -> None:
    assert [task_label(name, {"add"}) for name in ("add", "evil-1", "evil-2")] == ["add", "unknown", "unknown"]
