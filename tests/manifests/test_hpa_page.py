"""What the docs tell of scaling with an HPA, and of large jobs: values that render, rules that count right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hpa_page import PAGE, adapter_rules, query, served_name, values_of
from manifests.charts import CHARTS, render
from manifests.documents import of_kind
from manifests.test_alerts import promtool

BY_NAME = {chart.name: chart for chart in CHARTS}
LARGE_JOBS = PAGE.with_name("large-jobs.md")
BROKERS = {
    'rabbitmq_detailed_queue_messages{namespace="jobs",pod="a",vhost="warren",queue="warren.q.default"}': 400,
    # It led the queue a moment ago.
    'rabbitmq_detailed_queue_messages{namespace="jobs",pod="b",vhost="warren",queue="warren.q.default"}': 390,
    'rabbitmq_detailed_queue_messages{namespace="jobs",pod="a",vhost="other",queue="warren.q.default"}': 7000,
    'rabbitmq_detailed_queue_messages{namespace="other",pod="a",vhost="warren",queue="warren.q.default"}': 8000,
    'rabbitmq_detailed_queue_messages{namespace="jobs",pod="a",vhost="warren",queue="warren.q.media"}': 30,
    'rabbitmq_detailed_queue_messages{namespace="jobs",pod="b",vhost="warren",queue="warren.q.thumbnails"}': 12,
    'rabbitmq_detailed_queue_messages{namespace="jobs",pod="a",vhost="warren",queue="warren.events"}': 900,
    'warren_jobs_running{namespace="jobs",pod="worker-1"}': 4,
    'warren_jobs_running{namespace="jobs",pod="worker-2"}': 1,
    'warren_jobs_running{namespace="other",pod="worker-1"}': 4,
}


def matchers(labels: dict[str, str]) -> str:
    """Write a selector as the adapter does: the HPA's namespace, then its labels."""
    return ",".join(f'{name}="{value}"' for name, value in {"namespace": "jobs", **labels}.items())


@pytest.mark.parametrize(
    ("worker_set", "counted"),
    [("default", {"warren.q.default": 400}), ("media", {"warren.q.media": 30, "warren.q.thumbnails": 12})],
)
def test_the_hpa_of_a_worker_set_asks_for_the_jobs_of_its_queues(
    worker_set: str, counted: dict[str, int], tmp_path: Path
) -> None:
    made = render(BY_NAME["warren"], values_of("values of helm/warren"))
    [hpa] = [hpa for hpa in of_kind(made, "HorizontalPodAutoscaler") if hpa["metadata"]["name"].endswith(worker_set)]
    [metric] = hpa["spec"]["metrics"]
    asked = metric["external"]["metric"]
    [rule] = [rule for rule in adapter_rules()["external"] if served_name(rule) == asked["name"]]

    evaluate(
        tmp_path,
        query(rule, matchers(asked["selector"]["matchLabels"])),
        {f'{{queue="{queue}"}}': value for queue, value in counted.items()},
    )


def test_the_running_jobs_of_each_worker_are_its_own(tmp_path: Path) -> None:
    [rule] = adapter_rules()["custom"]

    evaluate(
        tmp_path,
        query(rule, 'namespace="jobs",pod=~"worker-1|worker-2"'),
        {'{pod="worker-1"}': 4, '{pod="worker-2"}': 1},
    )


@pytest.mark.parametrize(
    ("page", "title"),
    [(PAGE, "values of helm/warren-rabbitmq"), (LARGE_JOBS, "values of helm/warren-topology")],
    ids=["broker", "topology"],
)
def test_the_other_values_of_the_pages_render(page: Path, title: str) -> None:
    assert render(BY_NAME[title.rpartition("/")[2]], values_of(title, page))


def test_the_two_worker_sets_for_large_jobs_have_a_queue_and_a_limit_each() -> None:
    made = render(BY_NAME["warren"], values_of("values of helm/warren", LARGE_JOBS))

    workers = {
        each["metadata"]["labels"]["warren.dev/worker-set"]: each["spec"]["template"]["spec"]["containers"][0]
        for each in of_kind(made, "Deployment")
        if "warren.dev/worker-set" in each["metadata"]["labels"]
    }
    found = {
        name: (
            next(variable["value"] for variable in worker["env"] if variable["name"] == "WARREN_WORKER_QUEUES"),
            worker["resources"]["limits"]["memory"],
        )
        for name, worker in workers.items()
    }
    assert found == {"default": ("default", "1500Mi"), "large": ("large", "5Gi")}


def evaluate(folder: Path, expression: str, expected: dict[str, int]) -> None:
    """Let promtool evaluate an expression over what the brokers and workers tell."""
    test: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}x5"} for name, value in BROKERS.items()],
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": "3m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()],
            }
        ],
    }
    (folder / "tests.yaml").write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}), encoding="utf-8")
    done = promtool(folder, "test", "rules", "tests.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
