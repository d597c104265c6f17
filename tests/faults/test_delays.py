"""A hundred thousand jobs on the delay ladder at once: none early, few late, nothing that grows."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import psutil
import pytest

from faults.checker import Bounds
from faults.load import Sort, send
from faults.stage import Stage

pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]
JOBS = 100_000
LONGEST_SECONDS = 300
BATCH = 1000
# Below what two cores can take beside the ladder and the workers: what is to be flat is the cost of a submit. As fast
# as possible would only show that jobs which come due share the cores with those that are submitted.
JOBS_PER_SECOND = 1000
LATER_SECONDS = (60, 90)
"""Delay of jobs that are to be on the ladder, and not due while others are submitted."""
EARLY_SECONDS = 1.0
LATE_SECONDS = 3.0
WORKERS = 2


@dataclass(frozen=True)
class Tenth:
    """One tenth of the submits.

    Attributes:
        jobs_per_second: How fast they were taken.
        answer_seconds: How long a batch waited for its answer, the median.
        starts_per_second: How many jobs began meanwhile.
        server_mib: Memory of the server's processes afterwards.
    """

    jobs_per_second: float
    answer_seconds: float
    starts_per_second: float
    server_mib: float


def test_a_hundred_thousand_delayed_jobs_are_on_time(stage: Stage) -> None:
    server = stage.start_server()
    for _ in range(WORKERS):
        stage.start_worker()

    tenths = submit_all(stage, server.pid)
    stage.wait_effects(JOBS, LONGEST_SECONDS + 300)
    beside = submit_beside_work(stage, server.pid, starts_per_second=round(tenths[-1].starts_per_second))
    stage.wait_effects(JOBS + JOBS // 10, LATER_SECONDS[1] + 60)
    late = late_seconds(stage)
    verdict = stage.finish(
        f"{JOBS:,} jobs delayed by 1 to {LONGEST_SECONDS} s",
        bounds=Bounds(),
        note=told(late, tenths, beside),
    )

    assert verdict.accepted == JOBS + JOBS // 10
    assert late[0] >= -EARLY_SECONDS
    assert percentile(late, 0.99) <= LATE_SECONDS
    # The first tenth has caches to warm; from then on nothing may grow with what is on the ladder.
    assert tenths[-1].jobs_per_second >= 0.95 * JOBS_PER_SECOND
    assert tenths[-1].answer_seconds <= 1.5 * beside.answer_seconds
    assert tenths[-1].server_mib <= 1.15 * tenths[1].server_mib


def submit_all(stage: Stage, server: int) -> list[Tenth]:
    """Submit all jobs at a steady rate, and look at each tenth."""
    rng = random.Random(7)
    return [
        submit_tenth(
            stage,
            server,
            [(f"delayed-{tenth}-{number}", delayed(rng.randint(1, LONGEST_SECONDS))) for number in range(JOBS // 10)],
        )
        for tenth in range(10)
    ]


def submit_beside_work(stage: Stage, server: int, starts_per_second: int) -> Tenth:
    """Submit a tenth to an empty ladder while workers are as busy as they were in the end.

    What comes due shares the machine with what is submitted. This tells that from what a long ladder costs.
    """
    rng = random.Random(8)
    share = starts_per_second / JOBS_PER_SECOND
    jobs = [
        (f"beside-{number}", Sort(task="fault.quick") if rng.random() < share else delayed(rng.randint(*LATER_SECONDS)))
        for number in range(JOBS // 10)
    ]
    return submit_tenth(stage, server, jobs)


def submit_tenth(stage: Stage, server: int, jobs: Sequence[tuple[str, Sort]]) -> Tenth:
    """Submit jobs in batches at a steady rate: an open loop, after a slow batch the next ones make up for it."""
    started = stage.history.count("start")
    answers = []
    began = time.monotonic()
    with httpx.Client(base_url=stage.stack.url, timeout=60, trust_env=False) as client:
        for first in range(0, len(jobs), BATCH):
            sent_at = time.monotonic()
            send(client, stage.history, jobs[first : first + BATCH])
            answers.append(time.monotonic() - sent_at)
            time.sleep(max(0.0, began + (first + BATCH) / JOBS_PER_SECOND - time.monotonic()))
    seconds = time.monotonic() - began
    return Tenth(
        jobs_per_second=len(jobs) / seconds,
        answer_seconds=statistics.median(answers),
        starts_per_second=(stage.history.count("start") - started) / seconds,
        server_mib=resident_mib(server),
    )


def delayed(seconds: int) -> Sort:
    return Sort(task="fault.quick", options={"delay": seconds})


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    parent = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (parent, *parent.children(recursive=True))) / 2**20


def late_seconds(stage: Stage) -> list[float]:
    """Return how late each job started after it was due, sorted; due is counted from when it was sent."""
    due = {
        line.key: line.at + line.data["delay"]
        for line in stage.history.lines()
        if line.kind == "sent" and line.key.startswith("delayed-")
    }
    started: dict[str, float] = {}
    for line in stage.history.lines():
        if line.kind == "start":
            started.setdefault(line.key, line.at)
    return sorted(started[key] - at for key, at in due.items() if key in started)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def told(late: Sequence[float], tenths: Sequence[Tenth], beside: Tenth) -> str:
    """Put the figures into words."""
    rates = f"{tenths[0].jobs_per_second:.0f} to {tenths[-1].jobs_per_second:.0f} jobs/s taken, first to last tenth"
    answers = (
        f"batches of {BATCH} answered in {tenths[1].answer_seconds:.2f} s, in the last tenth "
        f"{tenths[-1].answer_seconds:.2f} s beside {tenths[-1].starts_per_second:.0f} starts/s, with an empty ladder "
        f"{beside.answer_seconds:.2f} s beside {beside.starts_per_second:.0f} starts/s"
    )
    memory = f"server {tenths[0].server_mib:.0f} to {tenths[-1].server_mib:.0f} MiB"
    shares = ", ".join(f"p{share * 100:g} {percentile(late, share):.2f} s" for share in (0.5, 0.99, 1.0))
    return f"earliest {late[0]:+.2f} s, late {shares}; {rates}; {answers}; {memory}"
