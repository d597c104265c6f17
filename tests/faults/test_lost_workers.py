"""F1: workers and their children are killed while jobs run."""

from __future__ import annotations

import pytest

from faults.checker import Bounds, redelivery_seconds
from faults.load import Sort
from faults.stage import CONCURRENCY, PREFETCH, Stage, children_of, end, sizes

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("kills", sizes(1, 5))
def test_jobs_of_a_killed_worker_start_elsewhere_within_three_seconds(stage: Stage, kills: int) -> None:
    stage.start_server()
    stage.start_worker()
    victim = stage.start_worker()
    recoveries = []

    with stage.load():
        for kill in range(kills):
            stage.wait_more_effects(100)
            stage.occupy(victim, f"held-{kill}")
            killed_at = stage.kill(victim, "SIGKILL of a worker")
            pid, victim = victim.pid, stage.start_worker()
            stage.wait_more_effects(200)
            recovery = redelivery_seconds(stage.history.lines(), pid, killed_at)
            assert recovery is not None
            recoveries.append(recovery)

    stage.finish(
        "F1 SIGKILL of a worker",
        bounds=Bounds(faults=kills, in_flight=PREFETCH, crashes=kills, recovery_seconds=3),
        recovery_seconds=max(recoveries),
        note=f"{kills} kills; recovery = redelivery of the slowest job",
    )


@pytest.mark.full
def test_a_killed_child_is_a_failed_attempt_and_the_worker_goes_on(stage: Stage) -> None:
    stage.start_server()
    worker = stage.start_worker()

    with stage.load():
        stage.submit(Sort(task="fault.isolated", arguments={"seconds": 2}), ["victim"])
        first = stage.wait_start("victim")
        killed_at = stage.fault("SIGKILL of a child")
        assert first.data["pid"] in children_of(worker.pid)
        end(first.data["pid"])
        second = stage.wait_start("victim", after=killed_at)

    assert second.data["attempt"] == first.data["attempt"] + 1
    assert worker.poll() is None
    stage.finish(
        "F1 SIGKILL of a child process",
        bounds=Bounds(faults=1, in_flight=CONCURRENCY, recovery_seconds=3),
        recovery_seconds=second.at - killed_at,
    )
