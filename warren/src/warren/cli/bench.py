"""`warren bench`: what can be known by playing it through, without a broker."""

from __future__ import annotations

from pathlib import Path

import click

from warren.cli.output import Output, note
from warren.cli.parameters import with_output

_TRACES = ("burst", "wave", "long", "poison")


@click.group()
def bench() -> None:
    """Play things through, without a broker."""


@bench.command()
@click.option("--trace", type=click.Choice(_TRACES), default="burst", show_default=True, help="Jobs to replay.")
@click.option("--max", "maximum", type=click.IntRange(min=1), default=20, show_default=True, help="Most workers.")
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs a worker runs.")
@click.option(
    "--slo",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds a job may wait for its start; only Warren's own rule can be told.",
)
@click.option(
    "--start-seconds",
    type=click.FloatRange(min=0),
    default=4.0,
    show_default=True,
    help="From the request for a worker to its first job.",
)
@click.option("--runs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Replays of each rule.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the first replay; the next has the next.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the first replay: PNG.")
@with_output
def scaling(
    out: Output,
    trace: str,
    maximum: int,
    concurrency: int,
    slo: float,
    start_seconds: float,
    runs: int,
    seed: int,
    picture: Path | None,
) -> None:
    """Replay arrivals against Warren's scaler, KEDA with the HPA, and Celery with KEDA.

    Times are means over the replays, which differ in when polls and syncs happen and in whom a ReplicaSet deletes.
    """
    # The model is of no use to other commands.
    from warren.simulation import report
    from warren.simulation.plot import plot
    from warren.simulation.rules import RULES
    from warren.simulation.world import Setup

    setup = Setup(maximum=maximum, concurrency=concurrency, slo_seconds=slo, start_seconds=start_seconds)
    scores, firsts = [], {}
    shown, _ = report.replay(trace, RULES[0](), setup, seed)
    for make in RULES:
        rule = make()
        played = [report.replay(trace, rule, setup, number) for number in range(seed, seed + runs)]
        firsts[rule.name] = played[0][1]
        scores.append(report.score(rule.name, [record for _, record in played], maximum))
    if not out.as_json:
        out.text(f"{shown.says}; {len(shown.arrivals)} jobs, up to {maximum} workers, {concurrency} at once")
    columns = [column.format(wanted=maximum) for column in report.COLUMNS]
    out.table(scores, columns, [report.row(found) for found in scores])
    if picture is not None:
        plot(shown, firsts, picture)
        note(f"drawn: {picture}")
