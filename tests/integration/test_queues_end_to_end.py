"""Queues paused, purged and limited by the server's interface, with real workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import TESTS, Stack
from waiting import eventually
from warren.client import Client, JobRequest, JobView, QueueLimits
from warren.events import State
from warren.settings import BrokerSettings


@pytest.fixture
def stack(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stack]:
    path = os.pathsep.join((str(TESTS), str(TESTS / "integration")))
    made = Stack(folder=tmp_path, broker=amqp, tasks="tasks_for_tests", environment={"PYTHONPATH": path})
    try:
        made.start_server()
        yield made
    finally:
        made.stop()


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url) as made:
        yield made


def states(client: Client, jobs: list[JobView]) -> set[State]:
    return {client.job(job.id).state for job in jobs}


def ended(client: Client, jobs: list[JobView]) -> set[State]:
    """Wait until all are final; what they ended as."""
    return {client.wait(job, timeout_seconds=60).state for job in jobs}


def test_a_paused_queue_stands_still_for_workers_that_start_later_too(stack: Stack, client: Client) -> None:
    client.pause_queue("default")
    stack.start_worker(WARREN_WORKER_QUEUES="default,other")
    waiting = [client.submit("check.add", {"left": 1, "right": 1}) for _ in range(5)]
    eventually(lambda: any(queue.name == "other" for queue in client.queues()), 30)
    passing = [client.submit("check.add", {"left": 1, "right": 1}, queue="other") for _ in range(5)]

    assert ended(client, passing) == {State.SUCCEEDED}
    assert states(client, waiting) == {State.QUEUED}
    client.resume_queue("default")
    assert ended(client, waiting) == {State.SUCCEEDED}


def test_a_purge_ends_what_waits_delayed_and_retrying_and_leaves_what_comes_after(stack: Stack, client: Client) -> None:
    stack.start_worker(WARREN_WORKER_QUEUES="default")
    retrying = client.submit("check.fail_until", {"attempt": 100}, max_attempts=100)
    eventually(lambda: client.job(retrying.id).state is State.RETRYING, 30, 0.001)
    client.pause_queue("default")
    add = JobRequest(task="check.add", arguments={"left": 1, "right": 1})
    later = JobRequest(task="check.add", arguments={"left": 1, "right": 1}, delay=3)
    meant = [job for job in client.submit_many([add] * 10 + [later] * 5) if isinstance(job, JobView)]

    purged = client.purge_queue("default")
    spared = client.submit("check.add", {"left": 2, "right": 2})
    client.resume_queue("default")

    assert (len(meant), purged.paused) == (15, True)
    assert ended(client, [*meant, retrying]) == {State.CANCELLED}
    assert ended(client, [spared]) == {State.SUCCEEDED}


def most_at_once(history: Path) -> int:
    running = most = 0
    for line in history.read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    return most


def test_a_cap_holds_over_all_workers_and_can_be_changed_while_jobs_run(stack: Stack, client: Client) -> None:
    assert client.limit_queue("default", QueueLimits(concurrency=2)).concurrency == 2
    for _ in range(2):
        stack.start_worker(WARREN_WORKER_QUEUES="default", WARREN_WORKER_CONCURRENCY="4")
    found = []
    for number, cap in enumerate((2, 3, None)):
        client.limit_queue("default", QueueLimits(concurrency=cap))
        history = stack.folder / f"history-{number}"
        arguments = {"path": str(history), "line": "a", "seconds": 0.3}
        jobs = [
            job
            for job in client.submit_many([JobRequest(task="check.log", arguments=arguments)] * 12)
            if isinstance(job, JobView)
        ]
        assert len(jobs) == 12
        assert ended(client, jobs) == {State.SUCCEEDED}, stack.log()
        found.append(most_at_once(history))

    assert found[:2] == [2, 3]
    assert found[2] > 3
