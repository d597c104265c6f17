"""The command line and the clients on a real server, worker and broker."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import TESTS, Stack
from waiting import eventually
from warren import AsyncClient, Client, RequestFailed
from warren.client import JobRequest, JobView
from warren.settings import BrokerSettings

TASKS = '''
from warren import Retry, task

@task(name="cli.add")
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b

@task(name="cli.fail", retry=Retry(max_attempts=1))
def fail() -> None:
    raise ValueError("always")
'''


@pytest.fixture
def stack(tmp_path: Path, amqp: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    (tmp_path / "cli_tasks.py").write_text(TASKS)
    path = os.pathsep.join(filter(None, (str(tmp_path), str(TESTS), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    running = Stack(folder=tmp_path, broker=amqp, tasks="cli_tasks", environment={"PYTHONPATH": path})
    try:
        running.start_server()
        running.start_worker()
        yield running
    finally:
        running.stop()


def warren(stack: Stack, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
    assert stack.broker.url is not None
    assert stack.broker.management_url is not None
    environment = {
        **os.environ,
        "WARREN_URL": stack.url,
        "WARREN_TOKEN": token,
        "WARREN_TASKS": stack.tasks,
        "WARREN_AMQP_URL": stack.broker.url.get_secret_value(),
        "WARREN_AMQP_MANAGEMENT_URL": stack.broker.management_url.get_secret_value(),
    }
    command = [sys.executable, "-c", "from warren.cli import main; main(prog_name='warren')", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def document(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def test_a_job_goes_its_whole_way_by_the_command_line(stack: Stack) -> None:
    done = warren(stack, "submit", "cli.add", "a:=2", "--wait", "--json")
    died = warren(stack, "submit", "cli.fail", "--wait", "--json")
    watched = warren(stack, "watch", document(done)["id"], "--json")
    dead = warren(stack, "jobs", "--state", "dead", "--json")
    letters = warren(stack, "dead", "list", "--json")
    letter = warren(stack, "dead", "show", document(letters)[0]["id"])

    assert (done.returncode, died.returncode, watched.returncode) == (0, 1, 0), done.stderr + stack.log()
    assert (document(done)["state"], document(done)["result"]) == ("succeeded", 3)
    assert document(died)["error"]["message"] == "always"
    assert [job["id"] for job in document(dead)] == [document(died)["id"]]
    assert "ValueError: always" in letter.stdout


def test_refusals_have_their_exit_codes(stack: Stack) -> None:
    unknown_task = warren(stack, "submit", "no.such.task")
    wrong_argument = warren(stack, "submit", "cli.add", "a=text")
    unknown_job = warren(stack, "status", "018f4e8a-0000-7000-8000-000000000001")

    assert (unknown_task.returncode, wrong_argument.returncode, unknown_job.returncode) == (4, 5, 4)
    assert "arguments.a" in wrong_argument.stderr
    assert all(ended.stderr.count("\n") == 1 for ended in (unknown_task, wrong_argument, unknown_job))


def test_lists_tokens_and_doctor_work_on_a_running_stack(stack: Stack) -> None:
    tasks = document(warren(stack, "tasks", "list", "--json"))
    queues = document(warren(stack, "queues", "--json"))
    made = document(warren(stack, "token", "create", "--scope", "admin", "--name", "ci", "--json"))
    # The first token closes the door that was open on loopback.
    eventually(lambda: warren(stack, "token", "list").returncode == 5, 20)
    listed = document(warren(stack, "token", "list", "--json", token=made["token"]))
    revoked = warren(stack, "token", "revoke", made["id"], token=made["token"])
    doctor = warren(stack, "doctor", "--json")

    assert [task["name"] for task in tasks] == ["cli.add", "cli.fail"]
    assert "default" in [queue["name"] for queue in queues]
    assert made["token"]
    assert [token["name"] for token in listed] == ["ci"]
    assert revoked.returncode == 0
    assert doctor.returncode == 0, doctor.stdout
    assert {"broker", "broker version", "broker policies", "server", "tasks"} <= {
        item["check"] for item in document(doctor)
    }


def test_the_catalog_written_by_the_command_line_serves_a_server_without_the_code(stack: Stack) -> None:
    catalog = stack.folder / "catalog.json"
    warren(stack, "tasks", "export", "--output", str(catalog))
    other = Stack(folder=stack.folder, broker=stack.broker, tasks="")
    try:
        other.start_server(WARREN_CATALOG=str(catalog))

        with Client(other.url) as client:
            names = [task.name for task in client.tasks()]
            with pytest.raises(RequestFailed, match="invalid-arguments"):
                client.submit("cli.add", {"a": "text"})
    finally:
        other.stop()

    assert names == ["cli.add", "cli.fail"]


def test_both_clients_submit_many_and_wait(stack: Stack) -> None:
    async def asynchronously() -> JobView:
        async with AsyncClient(stack.url) as client:
            return await client.wait(await client.submit("cli.add", {"a": 5}), timeout_seconds=30)

    with Client(stack.url) as client:
        results = client.submit_many([JobRequest(task="cli.add", arguments={"a": 1}), JobRequest(task="no.such.task")])
        accepted, refused = results
        assert isinstance(accepted, JobView)
        done = client.wait(accepted, timeout_seconds=30)
        ready = client.health().ready

    assert isinstance(refused, RequestFailed)
    assert refused.kind == "unknown-task"
    assert (done.result, ready) == (2, True)
    assert asyncio.run(asynchronously()).result == 6
