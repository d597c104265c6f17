"""A broker that is down when a worker starts, or goes away under it, is waited for."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from waiting import eventually
from warren.events import State
from warren.local.node import PrivateNode
from warren.settings import BrokerSettings
from worker_processes import WorkerProcess, stage_on, terminate


@pytest.fixture
def node(tmp_path: Path) -> Iterator[PrivateNode]:
    made = PrivateNode(tmp_path / "node")
    made.start()
    yield made
    made.stop()


def test_a_worker_without_a_broker_lives_says_so_and_stops_when_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = BrokerSettings(url=SecretStr(f"amqp://guest:guest@127.0.0.1:{port}/"))
    worker = WorkerProcess(tmp_path, nobody)
    try:
        eventually(lambda: worker.log.count("broker_unreachable") + worker.log.count("attempt") >= 2, 20)
        alive, ready = worker.get("/healthz"), worker.get("/readyz")

        assert terminate(worker) == 0
        assert (alive, ready) == (200, 503)
    finally:
        worker.kill()


def test_a_broker_that_comes_late_or_goes_and_comes_back_costs_no_job(tmp_path: Path, node: PrivateNode) -> None:
    history = tmp_path / "history"
    broker = BrokerSettings(url=SecretStr(node.url), management_url=SecretStr(node.management_url))
    node.stop()
    worker = WorkerProcess(tmp_path, broker)
    try:
        eventually(lambda: worker.get("/healthz") == 200, 20)
        node.start()
        with stage_on(tmp_path, broker) as stage:
            worker.wait_ready()
            job = stage.submit("check.log", {"path": str(history), "line": "a", "seconds": 2})
            eventually(history.exists, 30)

            node.stop()
            eventually(lambda: "end a" in history.read_text(), 20)
            was_ready = worker.get("/readyz")
            node.start()

            assert stage.event(job, State.SUCCEEDED, 60).result == '"a"'
            eventually(lambda: stage.ready() == 0, 20)
            assert was_ready == 200
            assert history.read_text() == "start a\nend a\n"
        assert terminate(worker) == 0
    finally:
        worker.kill()


def test_the_children_of_a_killed_worker_die_with_it(tmp_path: Path, amqp: BrokerSettings) -> None:
    pids = tmp_path / "pids"
    with stage_on(tmp_path, amqp) as stage:
        worker = stage.start_worker()
        stage.submit("child.spin", {"path": str(pids)}, timeout_seconds=60)
        eventually(lambda: pids.exists() and " " in pids.read_text(), 30)
        child, grandchild = map(int, pids.read_text().split())

        worker.signal(signal.SIGKILL)

        eventually(lambda: not Path(f"/proc/{child}").exists(), 10)
        os.kill(grandchild, signal.SIGKILL)
