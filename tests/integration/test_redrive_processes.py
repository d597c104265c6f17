"""Redrives by real servers and workers, one of which dies in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from letter_kit import letter
from processes import Stack
from waiting import eventually
from warren.amqp import connect
from warren.envelope import new_job_id
from warren.settings import BrokerSettings
from warren.transport import dead_publication
from warren_server.redriver import BATCH

QUEUE = "faults"


@pytest.fixture
def servers(amqp: BrokerSettings, tmp_path: Path) -> Iterator[tuple[Stack, Stack]]:
    environment = {"WARREN_STORE_URL": f"sqlite:///{tmp_path}/store.db", "WARREN_SERVER_PROCESSES": "1"}
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(Stack(folder=tmp_path / name, broker=amqp, tasks="fault_tasks", environment=environment))
    yield made[0], made[1]
    for stack in made:
        stack.stop()


def kill_wholly(server: subprocess.Popen[bytes]) -> None:
    """End a server and its processes by SIGKILL, as a machine that goes down does."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    server.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    server.wait(10)


def fill(broker: BrokerSettings, count: int, history: Path) -> list[str]:
    """Put dead letters of jobs that would run well now."""
    transport = connect(broker)
    transport.start()
    try:
        assert transport.wait_ready(20)
        jobs = [new_job_id() for _ in range(count)]
        sent = []
        for number, job in enumerate(jobs):
            body = json.dumps({"history": str(history), "number": number}).encode()
            message = letter(job, task="fault.record", queue=QUEUE, body=body, attempt=1, dead_ms=1000 + number)
            sent.append(transport.publish(dead_publication(message), wait_seconds=10))
        for future in sent:
            future.result(20)
        return jobs
    finally:
        transport.stop()


def asked(url: str, path: str) -> Any:
    answer = httpx.get(f"{url}{path}", timeout=20)
    answer.raise_for_status()
    return answer.json()


def redrive(url: str, **body: Any) -> str:
    answer = httpx.post(f"{url}/v1/dead-letters/redrive", json={"all": True, **body}, timeout=20)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["url"])


@pytest.mark.timeout(240)
def test_a_redrive_outlives_the_server_that_works_on_it(
    servers: tuple[Stack, Stack], amqp: BrokerSettings, tmp_path: Path
) -> None:
    one, two = servers
    history = tmp_path / "history"
    first = one.start_server()
    two.start_server()
    jobs = fill(amqp, 2000, history)
    eventually(lambda: asked(two.url, "/v1/dead-letters/summary")["total"] == 2000, 60)
    two.start_worker()

    path = redrive(one.url, rate=500)
    eventually(lambda: asked(two.url, path)["moved"] >= 500, 60)
    kill_wholly(first)
    died = time.monotonic()
    at_death = asked(two.url, path)
    eventually(lambda: asked(two.url, path)["moved"] > at_death["moved"], 30)
    taken_over_seconds = time.monotonic() - died

    done = eventually(lambda: found if (found := asked(two.url, path))["state"] == "done" else None, 90)
    assert at_death["moved"] < 2000
    assert (done["total"], done["moved"], done["failed"]) == (2000, 2000, 0)
    assert taken_over_seconds < 20
    eventually(lambda: asked(two.url, f"/v1/queues/{QUEUE}")["jobs"] == {"succeeded": 2000}, 60)
    assert asked(two.url, "/v1/dead-letters")["dead_letters"] == []
    runs = Counter(line.split()[0] for line in history.read_text().splitlines())
    assert set(runs) == set(jobs)
    assert sum(runs.values()) - len(runs) <= BATCH
    shown = asked(two.url, f"/v1/jobs/{jobs[0]}")
    assert (shown["round"], [run["outcome"] for run in shown["attempts"]]) == (1, ["failed", "succeeded"])
    print(f"taken over after {taken_over_seconds:.1f} s; {sum(runs.values()) - len(runs)} of 2000 jobs ran twice")


@pytest.mark.timeout(120)
def test_a_stop_ends_a_redrive_within_a_second(
    servers: tuple[Stack, Stack], amqp: BrokerSettings, tmp_path: Path
) -> None:
    one, two = servers
    one.start_server()
    two.start_server()
    fill(amqp, 1000, tmp_path / "history")
    eventually(lambda: asked(one.url, "/v1/dead-letters/summary")["total"] == 1000, 60)
    path = redrive(one.url, rate=200)
    began = time.monotonic()
    eventually(lambda: asked(one.url, path)["moved"] >= 200, 30)
    rate = 200 / (time.monotonic() - began)

    # Told to the server that does not work on it.
    httpx.post(f"{two.url}{path}/stop", timeout=20).raise_for_status()
    threading.Event().wait(1.0)
    after_a_second = asked(two.url, path)
    threading.Event().wait(1.5)

    assert after_a_second["state"] == "stopped"
    assert asked(two.url, path)["moved"] == after_a_second["moved"] < 1000
    left = asked(two.url, "/v1/dead-letters/summary")["total"]
    assert left == 1000 - after_a_second["moved"]
    assert rate < 300
