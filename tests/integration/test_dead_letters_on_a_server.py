"""Dead letters by command line and client, with a real server, worker and broker."""

from __future__ import annotations

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
from warren import Client
from warren.events import State
from warren.settings import BrokerSettings

TASKS = '''
from pathlib import Path

from warren import Context, Discard, task

@task(name="letters.read")
def read(ctx: Context, path: str) -> str:
    """Read a file that somebody may have forgotten."""
    ctx.checkpoint({"tried": path})
    if not Path(path).exists():
        raise Discard(f"{path} is missing")
    return f"{Path(path).read_text()} in attempt {ctx.attempt} after {ctx.state}"
'''


@pytest.fixture
def stack(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stack]:
    (tmp_path / "letters_tasks.py").write_text(TASKS)
    path = os.pathsep.join(filter(None, (str(tmp_path), str(TESTS), os.environ.get("PYTHONPATH"))))
    running = Stack(folder=tmp_path, broker=amqp, tasks="letters_tasks", environment={"PYTHONPATH": path})
    try:
        running.start_server()
        running.start_worker(WARREN_WORKER_IMAGE="shop:1.2")
        yield running
    finally:
        running.stop()


def warren(stack: Stack, *words: str) -> Any:
    command = [sys.executable, "-c", "from warren.cli import main; main(prog_name='warren')", *words, "--json"]
    environment = {**os.environ, "WARREN_URL": stack.url}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr + stack.log()
    return json.loads(ended.stdout)


def test_what_was_forgotten_is_put_right_and_the_letters_redriven(stack: Stack, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with Client(stack.url) as client:
        jobs = [client.submit("letters.read", {"path": str(missing)}) for _ in range(3)]
        assert {client.wait(job, 60).state for job in jobs} == {State.DEAD}
        summary = warren(stack, "dead", "summary")
        letter = client.dead_letter(jobs[0].id)

        missing.write_text("found")
        done = warren(stack, "dead", "redrive", "--task", "letters.read", "--outcome", "discarded", "--yes", "--wait")
        ended = [client.wait(job, 60) for job in jobs]

    assert summary["total"] == 3
    assert (letter.outcome, letter.image, letter.attempt) == ("discarded", "shop:1.2", 1)
    assert (done["state"], done["moved"], done["failed"]) == ("done", 3, 0)
    assert {job.state for job in ended} == {State.SUCCEEDED}
    assert [(run.attempt, run.outcome) for run in ended[0].attempts] == [(1, "discarded"), (2, "succeeded")]
    assert (ended[0].round, ended[0].error) == (1, None)
    assert ended[0].result == f"found in attempt 2 after {{'tried': '{missing}'}}"
    assert warren(stack, "dead", "list") == []


def test_a_job_with_wrong_arguments_is_retried_with_right_ones(stack: Stack, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.write_text("here")
    with Client(stack.url) as client:
        job = client.wait(client.submit("letters.read", {"path": "/nowhere"}), 60)
        again = warren(stack, "dead", "retry", job.id, "path=/nowhere/either", "--wait-timeout", "60")
        eventually(lambda: client.job(job.id).state is State.DEAD and client.job(job.id).attempt == 2, 60)
        done = warren(stack, "dead", "retry", job.id, f"path={here}", "--wait")

    assert again["state"] == "queued"
    assert (done["state"], done["round"], done["attempt"]) == ("succeeded", 2, 3)


def test_a_cancel_is_answered_at_once_and_purged_letters_stay_away(stack: Stack) -> None:
    with Client(stack.url) as client:
        job = client.submit("letters.read", {"path": "/nowhere"}, delay=3600)
        dead = client.wait(client.submit("letters.read", {"path": "/nowhere"}), 60)

    cancelled = warren(stack, "cancel", job.id)
    purged = warren(stack, "dead", "purge", dead.id, "--yes")

    assert (cancelled["state"], cancelled["cancel_requested_at"] is not None) == ("scheduled", True)
    assert purged == {"id": dead.id, "deleted": True}
    assert warren(stack, "dead", "list") == []
