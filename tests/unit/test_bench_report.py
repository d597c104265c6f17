"""The report of the benchmarks, and `results.json`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import plots, report
from bench.figures import spread
from bench.goals import GOALS
from bench.readings import Quantity, Reading, rate
from bench.results import About, Results, Series, read


@pytest.fixture
def results() -> Results:
    """What a short run of two contenders could come to."""
    quantities = [
        rate("publish.one.64", "one at a time, 64 B"),
        rate("publish.bulk.64", "in bulk, 64 B"),
        Quantity(id="startup.worker", title="worker", unit="s", better="lower"),
    ]
    values = {
        ("publish.bulk.64", "warren"): (20_000, 22_000, 24_000),
        ("publish.one.64", "celery"): (800, 1_000, 1_200),
        ("publish.bulk.64", "celery"): (900, 900, 900),
    }
    return Results(
        facts={"date": "2026-01-01 00:00 UTC", "broker": "RabbitMQ 4.3"},
        about=[
            About(name="warren", title="Warren", versions={"pika": "1.4.4"}, settings={"ack": "late"}),
            About(name="celery", title="Celery", versions={"celery": "5.7.0"}, settings={}),
        ],
        quantities=quantities,
        readings=[
            Reading(quantity=quantity, contender=contender, value=value, round=number)
            for (quantity, contender), found in values.items()
            for number, value in enumerate(found, 1)
        ],
        series=[
            Series(id="backlog.drain", title="drain", contender="warren", unit="jobs/s", points=((1, 9.5), (2, 9)))
        ],
        absent=["PerfTest does not take part: there is no `java` on this machine"],
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123"), (1.236, "1.24"), (12.34, "12.3"), (815.4, "815"), (27277.3, "27,277")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_a_cell_shows_the_median_and_both_extremes() -> None:
    assert report.cell(spread([1000.0, 2000.0, 3000.0])) == "2,000 (1,000–3,000)"
    assert report.cell(spread([5.0])) == "5.00"
    assert report.cell(None) == "–"


def test_the_report_has_goals_tables_versions_and_who_is_not_there(results: Results) -> None:
    text = report.render(results, ["publish.png"])

    assert "- broker: RabbitMQ 4.3" in text
    assert "| direct bulk publish | ≥ 20 × celery | 22.0 × | 1.10 | yes |" in text
    assert "| worker, no-op tasks, results recorded | ≥ 5 × celery | not measured | – | – |" in text
    assert "| in bulk, 64 B, jobs/s | 22,000 (20,000–24,000) | 900 (900–900) |" in text
    assert "| one at a time, 64 B, jobs/s | – | 1,000 (800–1,200) |" in text
    assert "![Publish, confirmed by the broker](publish.png)" in text
    assert "- PerfTest does not take part: there is no `java` on this machine" in text
    assert "### Celery\n\ncelery 5.7.0." in text
    assert "- ack: late" in text


def test_a_measure_without_values_has_no_table(results: Results) -> None:
    text = report.render(results)

    assert "## Start" not in text
    assert "## Failed" not in text
    assert "!" + "[" not in text


def test_failures_are_shown(results: Results) -> None:
    results.failures.append("worker, Celery: celery ended with status 1")

    assert "## Failed\n\n- worker, Celery: celery ended with status 1" in report.render(results)


def test_a_peer_that_lacks_is_named_beside_the_verdict(results: Results) -> None:
    results.readings = [one for one in results.readings if one.quantity != "publish.one.64"]

    assert "| yes (without celery) |" in report.render(results)


def test_ratios_are_printed_for_every_goal(results: Results) -> None:
    lines = report.ratios(results)

    assert len(lines) == len(GOALS)
    assert "direct bulk publish: 22.0 (goal ≥ 20 × celery)" in lines


def test_results_survive_their_file(results: Results) -> None:
    again = read(results.text())

    assert again == results
    assert again.scores() == results.scores()


def test_the_file_holds_goals_and_summaries(results: Results) -> None:
    document = json.loads(results.text())

    first = document["goals"][0]
    assert (first["goal"], first["reached"], first["met"]) == ("≥ 20 × celery", 22.0, True)
    assert {
        "quantity": "publish.one.64",
        "contender": "celery",
        "median": 1000,
        "low": 800,
        "high": 1200,
        "rounds": 3,
    } in (document["summaries"])


def test_plots_are_drawn_for_what_there_is(results: Results, tmp_path: Path) -> None:
    drawn = plots.draw(results, tmp_path)

    assert drawn == ["publish.png", "backlog.png"]
    for name in drawn:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
