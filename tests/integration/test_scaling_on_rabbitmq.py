"""How many workers the server says a queue should have, with a real broker and real workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import TESTS, Stack
from waiting import eventually
from warren.client import Client, JobView, ScalingView
from warren.errors import RequestFailed
from warren.events import State
from warren.settings import BrokerSettings


@pytest.fixture
def stack(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stack]:
    path = os.pathsep.join((str(TESTS), str(TESTS / "integration")))
    made = Stack(folder=tmp_path, broker=amqp, tasks="tasks_for_tests", environment={"PYTHONPATH": path})
    try:
        yield made
    finally:
        made.stop()


def scaling(client: Client) -> ScalingView | None:
    """Ask; None while the broker has not counted a queue it just made."""
    try:
        return client.queue_scaling("default", concurrency=2, max=50)
    except RequestFailed as refused:
        if refused.kind == "depths-unknown":
            return None
        raise


def test_the_workers_of_a_queue_follow_its_depth_then_what_its_jobs_took(stack: Stack, tmp_path: Path) -> None:
    stack.start_server()
    history = str(tmp_path / "history")

    with Client(stack.url) as client:
        jobs = [
            client.submit("check.log", {"path": history, "line": str(number), "seconds": 0.3}) for number in range(9)
        ]
        eventually(lambda: (told := scaling(client)) is not None and told.ready == 9, 30)
        cold = scaling(client)
        stack.start_worker(WARREN_WORKER_QUEUES="default", WARREN_WORKER_CONCURRENCY="2")
        assert {client.wait(job, timeout_seconds=60).state for job in jobs} == {State.SUCCEEDED}
        eventually(lambda: (told := scaling(client)) is not None and told.expected_seconds is not None, 30)
        client.pause_queue("default")
        more: list[JobView] = [client.submit("check.log", {"path": history, "line": "x"}) for _ in range(9)]
        client.resume_queue("default")
        assert {client.wait(job, timeout_seconds=60).state for job in more} == {State.SUCCEEDED}
        eventually(lambda: (told := scaling(client)) is not None and not told.ready and not told.unacked, 30)
        idle = scaling(client)

    assert cold is not None
    assert idle is not None
    assert (cold.desired_workers, cold.reason, cold.consumers) == (5, "depth", 0)
    assert (idle.desired_workers, idle.reason, idle.consumers) == (0, "idle", 1)
    assert idle.expected_seconds is not None
    assert 0 < idle.expected_seconds < 2
