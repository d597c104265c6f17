"""`python -m warren_worker --once` on a real broker: one job, one process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually
from warren.events import State
from warren.settings import BrokerSettings
from worker_processes import Stage, stage_on


@pytest.fixture
def stage(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stage]:
    with stage_on(tmp_path, amqp) as made:
        yield made


def test_a_worker_for_one_job_runs_one_and_leaves_the_rest(stage: Stage) -> None:
    jobs = [stage.submit("check.add", {"left": 1, "right": 1}) for _ in range(5)]

    worker = stage.start_worker("--once", WARREN_WORKER_CONCURRENCY="4")

    assert worker.wait(30) == 0
    done = eventually(lambda: [job for job in jobs if any(e.state is State.SUCCEEDED for e in stage.events(job))])
    eventually(lambda: stage.ready() == 4)
    assert len(done) == 1


def test_a_worker_for_one_job_that_finds_none_ends_well(stage: Stage) -> None:
    worker = stage.start_worker("--once", WARREN_WORKER_ONCE_WAIT_SECONDS="1")

    assert worker.wait(30) == 0
    assert "no job came within 1 s" in worker.log


def test_a_worker_for_one_job_that_is_told_to_end_gives_it_back(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    stage.submit("check.note", {"path": str(history), "seconds": 30})
    worker = stage.start_worker("--once", WARREN_DRAIN_SECONDS="0.5")
    eventually(history.exists, 30)

    worker.signal(signal.SIGTERM)

    assert worker.wait(30) == 0
    eventually(lambda: stage.ready() == 1)
