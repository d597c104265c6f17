"""Workers are killed while thousands of jobs are under way."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from processes import Stack
from waiting import eventually
from warren.settings import BrokerSettings

JOBS = 10_000
BATCH = 500
KILLS = 5
PREFETCH = 20


@pytest.fixture
def stack(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stack]:
    running = Stack(folder=tmp_path, broker=amqp, tasks="fault_tasks")
    running.start_server(WARREN_SERVER_PROCESSES="2")
    yield running
    running.stop()


@pytest.mark.full
@pytest.mark.timeout(300)
def test_every_accepted_job_of_ten_thousand_survives_five_killed_workers(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "history"
    history.touch()
    worker = start_worker(stack)

    accepted = [job for first in range(0, JOBS, BATCH) for job in submit_batch(stack, history, first)]
    for kill in range(KILLS):
        enough = (kill + 1) * JOBS // (KILLS + 2)
        eventually(lambda enough=enough: runs(history) >= enough, 120)
        stack.kill(worker)
        worker = start_worker(stack)
    states = eventually(lambda: final_states(stack, JOBS), 180, 0.5)

    effects = Counter(line.split()[0] for line in history.read_text().splitlines())
    lost = set(accepted) - set(effects)
    duplicates = sum(effects.values()) - len(effects)
    with capsys.disabled():
        print(f"\n{JOBS} jobs, {KILLS} workers killed: lost = {len(lost)}, duplicate runs = {duplicates}")
    assert len(accepted) == JOBS
    assert lost == set()
    assert set(effects) == set(accepted)
    assert states == dict.fromkeys(accepted, "succeeded")
    assert duplicates <= KILLS * PREFETCH


def start_worker(stack: Stack) -> subprocess.Popen[bytes]:
    return stack.start_worker(WARREN_WORKER_CONCURRENCY="10", WARREN_WORKER_PREFETCH=str(PREFETCH))


def submit_batch(stack: Stack, history: Path, first: int) -> list[str]:
    """Submit one batch and return the ids of the jobs the server accepted."""
    jobs = [
        {"task": "fault.record", "arguments": {"history": str(history), "number": number}}
        for number in range(first, first + BATCH)
    ]
    answer = httpx.post(f"{stack.url}/v1/jobs/batch", json={"jobs": jobs}, timeout=30)
    assert answer.status_code in (200, 202, 207), answer.text
    return [item["id"] for item in answer.json()["jobs"] if item["status"] == 202]


def runs(history: Path) -> int:
    return history.read_bytes().count(b"\n")


def final_states(stack: Stack, wanted: int) -> dict[str, str] | None:
    """Return the state of every job once all are final."""
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        unfinished = ("scheduled", "queued", "running", "retrying", "parked")
        if any(client.get("/v1/jobs", params={"state": state, "limit": 1}).json()["jobs"] for state in unfinished):
            return None
        states: dict[str, str] = {}
        cursor = None
        while True:
            parameters = {"limit": 500} | ({"cursor": cursor} if cursor else {})
            page = client.get("/v1/jobs", params=parameters).json()
            states |= {job["id"]: job["state"] for job in page["jobs"]}
            cursor = page["cursor"]
            if cursor is None:
                return states if len(states) == wanted else None
