"""F11: workers are told to stop, again and again, while work goes on. No attempt is burnt, nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict

import pytest

from faults.checker import Bounds
from faults.history import Line
from faults.load import MIX, Sort
from faults.stage import PREFETCH, Stage

pytestmark = pytest.mark.timeout(900)
SLOW = (*MIX, Sort(task="fault.sleeping", share=4, arguments={"seconds": 0.4}))
"""Some jobs are still running whenever a worker is told to stop."""


@pytest.mark.parametrize("drains", [6, pytest.param(50, marks=pytest.mark.full)])
def test_drained_workers_burn_no_attempt(stage: Stage, drains: int) -> None:
    stage.start_server()
    workers = [stage.start_worker(), stage.start_worker()]
    slowest = 0.0

    with stage.load(mix=SLOW):
        for _ in range(drains):
            stage.wait_more_effects(100)
            oldest = workers.pop(0)
            began = stage.fault("SIGTERM to a worker")
            oldest.send_signal(signal.SIGTERM)
            workers.append(stage.start_worker())
            assert oldest.wait(40) == 0, stage.stack.log()
            slowest = max(slowest, time.monotonic() - began)

    burnt = attempts_burnt(stage.history.read())
    stage.finish(
        f"F11 {drains} drains",
        bounds=Bounds(faults=0, recovery_seconds=35),
        recovery_seconds=slowest,
        note=f"attempts burnt: {burnt}; recovery = the slowest drain",
    )
    assert burnt == 0 or not nack_is_free(stage.version), f"{burnt} attempts burnt"


@pytest.mark.full
def test_jobs_longer_than_the_drain_go_to_another_worker(stage: Stage) -> None:
    stage.start_server()
    first = stage.start_worker(WARREN_DRAIN_SECONDS="1")

    with stage.load(mix=MIX):
        keys = [f"long-{number}" for number in range(5)]
        stage.submit(Sort(task="fault.sleeping", arguments={"seconds": 6}), keys)
        starts = [stage.wait_start(key) for key in keys]
        began = stage.fault("SIGTERM to a worker with long jobs")
        first.send_signal(signal.SIGTERM)
        stage.start_worker()
        assert first.wait(40) == 0
        again = [
            stage.wait_start(key, after=max(began, start.at + 0.001)) for key, start in zip(keys, starts, strict=True)
        ]
        stage.wait_more_effects(100)

    burnt = attempts_burnt(stage.history.read())
    stage.finish(
        "F11 a drain with jobs longer than it",
        bounds=Bounds(faults=1, in_flight=PREFETCH, crashes=1, recovery_seconds=10),
        recovery_seconds=max(line.at for line in again) - began,
        note=f"attempts burnt: {burnt}; recovery = the slowest job starts elsewhere",
    )
    assert burnt == 0 or not nack_is_free(stage.version), f"{burnt} attempts burnt"


def attempts_burnt(lines: list[Line]) -> int:
    """Count attempts used up without a run that failed: the number of a run minus the failures before it, minus one."""
    failed: dict[str, int] = defaultdict(int)
    job_of_run: dict[str, str] = {}
    burnt: dict[str, int] = {}
    for line in lines:
        if line.kind == "start":
            job_of_run[line.data["run"]] = line.job
            burnt[line.job] = line.data["attempt"] - 1 - failed[line.job]
        elif line.kind == "end" and line.data["outcome"] != "ok":
            failed[line.job] += 1
    return sum(burnt.values())


def nack_is_free(version: str) -> bool:
    """Whether the broker counts only failures, not what is handed back: from 4.3 (its quorum queue documentation)."""
    return tuple(int(part) for part in version.split(".")[:2]) >= (4, 3)


def test_burnt_attempts_are_counted() -> None:
    def start(job: str, attempt: int) -> Line:
        return Line(
            kind="start", at=0, job=job, data={"run": f"{job}{attempt}{os.urandom(2).hex()}", "attempt": attempt}
        )

    def ends(line: Line, outcome: str) -> Line:
        return Line(kind="end", at=0, job=line.job, data={"run": line.data["run"], "outcome": outcome})

    first, second = start("a", 1), start("a", 2)

    assert attempts_burnt([first, ends(first, "RuntimeError"), second, ends(second, "ok")]) == 0
    assert attempts_burnt([first, second, ends(second, "ok"), start("b", 3)]) == 1 + 2
