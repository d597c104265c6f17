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
EARLY_SECONDS = 1.0
LATE_SECONDS = 3.0
WORKERS = 2


@dataclass(frozen=True)
class Tenth:
    """One tenth of the submits.

    Attributes:
        jobs_per_second: How fast they were taken.
        answer_seconds: How long a batch waited for its answer, the median.
        server_mib: Memory of the server's processes afterwards.
    """

    jobs_per_second: float
    answer_seconds: float
    server_mib: float


def test_a_hundred_thousand_delayed_jobs_are_on_time(stage: Stage) -> None:
    server = stage.start_server()
    for _ in range(WORKERS):
        stage.start_worker()

    tenths = submit_all(stage, server.pid)
    stage.wait_effects(JOBS, LONGEST_SECONDS + 300)
    late = late_seconds(stage)
    verdict = stage.finish(
        f"{JOBS:,} jobs delayed by 1 to {LONGEST_SECONDS} s",
        bounds=Bounds(),
        note=told(late, tenths),
    )

    assert verdict.accepted == JOBS
    assert late[0] >= -EARLY_SECONDS
    assert percentile(late, 0.99) <= LATE_SECONDS
    # The first tenth has caches to warm; from then on nothing may grow with what is on the ladder.
    assert tenths[-1].jobs_per_second >= 0.95 * JOBS_PER_SECOND
    assert tenths[-1].answer_seconds <= 1.5 * tenths[1].answer_seconds
    assert tenths[-1].server_mib <= 1.15 * tenths[1].server_mib


def submit_all(stage: Stage, server: int) -> list[Tenth]:
    """Submit all jobs at a steady rate, and look at each tenth."""
    rng = random.Random(7)
    tenths = []
    began = time.monotonic()
    with httpx.Client(base_url=stage.stack.url, timeout=60, trust_env=False) as client:
        for tenth in range(10):
            tenth_began = time.monotonic()
            answers = []
            for first in range(tenth * JOBS // 10, (tenth + 1) * JOBS // 10, BATCH):
                jobs = [
                    (
                        f"delayed-{first + number}",
                        Sort(task="fault.quick", options={"delay": rng.randint(1, LONGEST_SECONDS)}),
                    )
                    for number in range(BATCH)
                ]
                sent_at = time.monotonic()
                send(client, stage.history, jobs)
                answers.append(time.monotonic() - sent_at)
                # The pace of an open loop: after a slow batch the next ones make up for it.
                time.sleep(max(0.0, began + (first + BATCH) / JOBS_PER_SECOND - time.monotonic()))
            seconds = time.monotonic() - tenth_began
            tenths.append(Tenth(JOBS / 10 / seconds, statistics.median(answers), resident_mib(server)))
    return tenths


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    parent = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (parent, *parent.children(recursive=True))) / 2**20


def late_seconds(stage: Stage) -> list[float]:
    """Return how late each job started after it was due, sorted; due is counted from when it was sent."""
    due = {line.key: line.at + line.data["delay"] for line in stage.history.lines() if line.kind == "sent"}
    started: dict[str, float] = {}
    for line in stage.history.lines():
        if line.kind == "start":
            started.setdefault(line.key, line.at)
    return sorted(started[key] - at for key, at in due.items() if key in started)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def told(late: Sequence[float], tenths: Sequence[Tenth]) -> str:
    """Put the figures into words."""
    rates = f"{tenths[0].jobs_per_second:.0f} to {tenths[-1].jobs_per_second:.0f} jobs/s taken, first to last tenth"
    answers = (
        f"batches of {BATCH} answered in {tenths[1].answer_seconds:.2f} s, later {tenths[-1].answer_seconds:.2f} s"
    )
    memory = f"server {tenths[0].server_mib:.0f} to {tenths[-1].server_mib:.0f} MiB"
    shares = ", ".join(f"p{share * 100:g} {percentile(late, share):.2f} s" for share in (0.5, 0.99, 1.0))
    return f"earliest {late[0]:+.2f} s, late {shares}; {rates}; {answers}; {memory}"
