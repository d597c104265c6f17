"""The rules for prometheus-adapter in the docs: of metrics that exist, under the names that worker sets ask for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpa_page import adapter_rules, query, series, served_name, values_of
from warren.metrics import VOCABULARY

ROOT = Path(__file__).parents[2]
OF_RABBITMQ = {"rabbitmq_detailed_queue_messages": "queue_coarse_metrics"}
"""Metrics by the family they are scraped with (https://www.rabbitmq.com/docs/prometheus#detailed-endpoint)."""
RULES = [rule for rules in adapter_rules().values() for rule in rules]


@pytest.mark.parametrize("rule", RULES, ids=served_name)
def test_a_rule_is_of_a_metric_that_exists(rule: dict[str, str]) -> None:
    ours = {metric.name for metric in VOCABULARY}
    scraped = (ROOT / "helm" / "warren-rabbitmq" / "templates" / "_endpoints.tpl").read_text()

    assert series(rule) in ours | OF_RABBITMQ.keys()
    assert series(rule) in ours or OF_RABBITMQ[series(rule)] in scraped


@pytest.mark.parametrize("rule", RULES, ids=served_name)
def test_a_rule_has_all_that_the_adapter_needs_and_no_placeholder_it_does_not_know(rule: dict[str, str]) -> None:
    assert (
        {"seriesQuery", "resources", "metricsQuery"}
        <= rule.keys()
        <= {"seriesQuery", "resources", "metricsQuery", "name"}
    )
    assert {"<<.Series>>", "<<.LabelMatchers>>"} <= set(re.findall(r"<<.*?>>", rule["metricsQuery"]))
    assert "<<" not in query(rule, 'namespace="jobs"')


def test_the_rules_tell_their_metrics_apart() -> None:
    assert sorted(served_name(rule) for rule in RULES) == [
        "warren_jobs_running",
        "warren_media_jobs",
        "warren_queue_jobs",
    ]


def test_the_worker_sets_ask_for_metrics_that_a_rule_serves_of_their_own_queues() -> None:
    served = {served_name(rule): rule for rule in adapter_rules()["external"]}

    for worker_set in values_of("values of helm/warren")["workerSets"].values():
        metric = worker_set["autoscaling"]["hpa"]["metric"]
        queues = {queue.partition("=")[0] for queue in worker_set["queues"]}
        if "queue" in metric["matchLabels"]:
            assert {metric["matchLabels"]["queue"]} == {f"warren.q.{queue}" for queue in queues}
        else:
            [named] = re.findall(r'queue=~"(.*?)"', served[metric["name"]]["metricsQuery"])
            assert all(re.fullmatch(named, f"warren.q.{queue}") for queue in queues)
            assert not re.fullmatch(named, "warren.q.default")
