"""The report, in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bench.figures import Spread
from bench.goals import Score
from bench.readings import Quantity
from bench.results import About, Results

_INTRODUCTION: Final = """\
Every contender works on the same broker, in the same run: quorum queues, persistent messages, publisher confirms, late
acks, the same payloads and tasks, the same number of worker processes. Rounds are interleaved: each contender has its
turn in every round. A cell is the median of the rounds, with the smallest and the largest in brackets. Warren's results
are recorded in its store by its server, which runs beside the workers; the others record none. Values move with the
machine; ratios within one run are what counts.
"""
_MEASURES: Final = {
    "publish": "Publish, confirmed by the broker",
    "http": "Submit over HTTP",
    "worker": "Work",
    "latency": "End-to-end latency",
    "cpu": "Processor time, the broker's apart",
    "memory": "Memory",
    "startup": "Start",
    "backlog": "Backlog",
}


def number(value: float) -> str:
    """Write a number with about three significant digits, and thousands apart."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def cell(found: Spread | None) -> str:
    """Write median and extremes."""
    if found is None:
        return "–"
    if found.rounds == 1:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)}–{number(found.high)})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def goals_table(scores: Sequence[Score]) -> list[str]:
    """Return the table of goals."""
    return table(("", "goal", "reached", "reached ÷ goal", ""), [_goal_row(score) for score in scores])


def _goal_row(score: Score) -> list[str]:
    if score.reached is None or score.ratio is None:
        return [score.goal.what, score.goal.text, "not measured", "–", "–"]
    unit = f" {score.goal.unit}" if not score.goal.theirs and score.goal.unit else ""
    unit = " ×" if score.goal.theirs else unit
    verdict = "yes" if score.met else "no"
    if score.lacking:
        verdict += f" (without {', '.join(name for _, name in score.lacking)})"
    return [score.goal.what, score.goal.text, number(score.reached) + unit, f"{score.ratio:.2f}", verdict]


def render(results: Results, plots: Sequence[str] = ()) -> str:
    """Write the report.

    Args:
        results: What the run came to.
        plots: Names of the pictures beside the report.
    """
    lines = ["# Benchmarks", "", "<!-- Written by `make bench`. -->", "", *_INTRODUCTION.splitlines(), ""]
    lines += [f"- {name}: {value}" for name, value in results.facts.items()]
    lines += ["", "## Goals", "", *goals_table(results.scores()), ""]
    for text, found in (("Not there", results.absent), ("Failed", results.failures)):
        if found:
            lines += [f"## {text}", "", *(f"- {line}" for line in found), ""]
    for measure, title in _MEASURES.items():
        lines += _measure(results, measure, title, plots)
    lines += ["## Versions and settings", "", *(line for one in results.about for line in _about(one))]
    return "\n".join(lines).rstrip() + "\n"


def ratios(results: Results) -> list[str]:
    """Return the goals as lines for a terminal."""
    return [f"{score.goal.what}: {_reached(score)} (goal {score.goal.text})" for score in results.scores()]


def _reached(score: Score) -> str:
    return "not measured" if score.reached is None else number(score.reached)


def _measure(results: Results, measure: str, title: str, plots: Sequence[str]) -> list[str]:
    quantities = [quantity for quantity in results.quantities if quantity.measure == measure]
    summaries = results.summaries
    there = [quantity for quantity in quantities if any(key[0] == quantity.id for key in summaries)]
    if not there:
        return []
    who = [one for one in results.about if any((quantity.id, one.name) in summaries for quantity in there)]
    rows = [[_title(quantity), *(cell(summaries.get((quantity.id, one.name))) for one in who)] for quantity in there]
    lines = [f"## {title}", "", *table(("", *(one.title for one in who)), rows), ""]
    for plot in plots:
        if plot.startswith(measure):
            lines += [f"![{title}]({plot})", ""]
    return lines


def _title(quantity: Quantity) -> str:
    return f"{quantity.title}, {quantity.unit}" if quantity.unit else quantity.title


def _about(one: About) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
    return [
        f"### {one.title}",
        "",
        f"{versions}.",
        "",
        *(f"- {name}: {value}" for name, value in one.settings.items()),
        "",
    ]
