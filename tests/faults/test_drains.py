"""F11: workers are told to stop, again and again, while work goes on. No attempt is burnt, nothing is lost."""

from __future__ import annotations

import signal
import time

import pytest

from faults.checker import Bounds, attempts_burnt
from faults.load import MIX, Sort
from faults.stage import PREFETCH, Stage, sizes

pytestmark = pytest.mark.timeout(900)
SLOW = (*MIX, Sort(task="fault.sleeping", share=4, arguments={"seconds": 0.4}))
"""Some jobs are still running whenever a worker is told to stop."""


@pytest.mark.parametrize("drains", sizes(2, 50))
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

    burnt = attempts_burnt(stage.history.lines())
    stage.finish(
        f"F11 {drains} drains",
        bounds=Bounds(faults=0, recovery_seconds=35),
        recovery_seconds=slowest,
        timeout_seconds=300,
        note=f"attempts burnt: {burnt}; recovery = the slowest drain",
    )
    assert burnt == 0, f"{burnt} attempts burnt"


@pytest.mark.full
def test_jobs_longer_than_the_drain_go_to_another_worker(stage: Stage) -> None:
    stage.start_server()
    first = stage.start_worker(WARREN_DRAIN_SECONDS="1")

    with stage.load(mix=MIX):
        keys = [f"long-{number}" for number in range(5)]
        stage.submit(Sort(task="fault.sleeping", arguments={"seconds": 8}), keys)
        starts = [stage.wait_start(key) for key in keys]
        stage.wait_more_effects(100)
        began = stage.fault("SIGTERM to a worker with long jobs")
        first.send_signal(signal.SIGTERM)
        stage.start_worker()
        assert first.wait(40) == 0
        again = [
            stage.wait_start(key, after=max(began, start.at + 0.001)) for key, start in zip(keys, starts, strict=True)
        ]
        stage.wait_more_effects(100)

    burnt = attempts_burnt(stage.history.lines())
    stage.finish(
        "F11 a drain with jobs longer than it",
        bounds=Bounds(faults=1, in_flight=PREFETCH, crashes=1, recovery_seconds=10),
        recovery_seconds=max(line.at for line in again) - began,
        note=f"attempts burnt: {burnt}; recovery = the slowest job starts elsewhere",
    )
    assert burnt == 0, f"{burnt} attempts burnt"
