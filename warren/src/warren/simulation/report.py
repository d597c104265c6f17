"""What came of replays, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Final

from warren.simulation.rules import Rule
from warren.simulation.traces import TRACES, Trace
from warren.simulation.world import Record, Setup, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What came of a rule, on average over its replays.

    Attributes:
        rule: The rule's name.
        reach_seconds: When the fleet first had the wanted number of workers up; None when it did not in some replay.
        wait_p50_seconds: How long half of the jobs waited for their first start, at most.
        wait_p95_seconds: How long 95 of 100 did.
        finished: Jobs that were done when the replay ended, of all.
        finished_seconds: When the last one was.
        interrupted: Runs that were cut short.
        returned: Jobs handed back unrun.
        worker_seconds: How long all workers were there, together.
        peak: Most workers at a time.
    """

    rule: str
    reach_seconds: float | None
    wait_p50_seconds: float
    wait_p95_seconds: float
    finished: float
    finished_seconds: float
    interrupted: float
    returned: float
    worker_seconds: float
    peak: float


COLUMNS: Final = ("rule", "to {wanted} workers", "wait p50", "wait p95", "done", "at", "interrupted", "worker-seconds")


def replay(trace: str, rule: Rule, setup: Setup, seed: int) -> tuple[Trace, Record]:
    """Play a trace to a rule once; the same seed gives the same, and the same moments of polls to rules of a kind."""
    drawn = TRACES[trace](Random(f"{trace}-{seed}"))
    held = rule.held(setup.concurrency) if drawn.prefetches else setup.concurrency
    world = World(drawn, setup, Random(f"world-{trace}-{seed}"), held=held, clings=rule.clings)
    rule.join(world)
    return drawn, world.run()


def score(rule: str, records: Sequence[Record], wanted: int) -> Score:
    """Sum up the replays of a rule.

    Args:
        rule: The rule's name.
        records: Its replays, one or more.
        wanted: Workers whose time of coming is asked for.
    """
    reached = [reach_seconds(record, wanted) for record in records]
    known = [at for at in reached if at is not None]
    return Score(
        rule=rule,
        reach_seconds=fmean(known) if len(known) == len(reached) else None,
        wait_p50_seconds=fmean(quantile([wait for _, wait in record.waits], 0.5) for record in records),
        wait_p95_seconds=fmean(quantile([wait for _, wait in record.waits], 0.95) for record in records),
        finished=fmean(record.finished for record in records),
        finished_seconds=fmean(record.finished_at for record in records),
        interrupted=fmean(record.interrupted for record in records),
        returned=fmean(record.returned for record in records),
        worker_seconds=fmean(record.worker_seconds for record in records),
        peak=fmean(max(sample[4] for sample in record.samples) for record in records),
    )


def reach_seconds(record: Record, wanted: int) -> float | None:
    """Return when so many workers were up first, to the second; None when they never were."""
    return next((at for at, _, _, up, _ in record.samples if up >= wanted), None)


def quantile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that a part of all values does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def row(found: Score) -> tuple[str, ...]:
    """Return a score as cells below `COLUMNS`."""
    return (
        found.rule,
        "never" if found.reach_seconds is None else f"{found.reach_seconds:.0f} s",
        f"{found.wait_p50_seconds:.1f} s",
        f"{found.wait_p95_seconds:.1f} s",
        f"{found.finished:.0f}",
        f"{found.finished_seconds:.0f} s",
        f"{found.interrupted:.1f}",
        f"{found.worker_seconds:.0f}",
    )
