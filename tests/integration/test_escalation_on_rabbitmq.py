"""Two worker sets on a real RabbitMQ: a real child process runs out of memory at one, and its job ends at the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually
from warren.envelope import decode
from warren.events import State
from warren.settings import BrokerSettings
from warren.topology import UNROUTABLE
from worker_processes import Stage, WorkerProcess, stage_on


@pytest.fixture
def stage(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stage]:
    with stage_on(tmp_path, amqp) as made:
        yield made


def start(stage: Stage, queue: str, **environment: str) -> WorkerProcess:
    names = {"WARREN_WORKER_QUEUES": queue, "WARREN_WORKER_NAME": f"{queue}-1"}
    worker = stage.start_worker(**names, WARREN_TASKS="escalation_tasks", **environment)
    worker.wait_ready()
    return worker


def test_a_job_that_runs_out_of_memory_ends_at_the_larger_workers_and_one_too_large_for_them_is_dead(
    stage: Stage,
) -> None:
    # It makes the queue of both, so the other finds it whichever is first.
    start(stage, "default")
    start(stage, "large")
    fits, does_not = (
        stage.submit(name, {"megabytes": size}) for name, size in (("large.fill", 400), ("large.stubborn", 2048))
    )

    done, retrying = stage.event(fits, State.SUCCEEDED), stage.event(fits, State.RETRYING)

    assert (retrying.worker, retrying.queue, retrying.attempt, retrying.outcome) == (
        "default-1", "large", 1, "out-of-memory",
    )  # fmt: skip
    assert (done.worker, done.queue, done.attempt) == ("large-1", "large", 2)
    assert done.result == '["large",2,0,419430400,{"last":"default"}]'
    [letter] = eventually(lambda: stage.dead, 30)
    assert (decode(letter).id, decode(letter).queue, decode(letter).escalated_from) == (does_not, "large", "default")
    assert letter.headers["warren-dead-outcome"] == "out-of-memory"
    assert [event.worker for event in stage.events(does_not) if event.state is State.RETRYING] == [
        "default-1", "large-1",
    ]  # fmt: skip


def test_a_larger_queue_that_is_missing_is_told_at_the_start_and_its_job_is_kept(stage: Stage) -> None:
    worker = start(stage, "default", WARREN_AMQP_TOPOLOGY="check")
    job = stage.submit("large.fill", {"megabytes": 400})

    eventually(lambda: stage.transport.depth(UNROUTABLE).result(10).ready == 1, 30)

    assert "oom_queue_missing" in worker.log
    assert stage.event(job, State.RETRYING).queue == "large"
