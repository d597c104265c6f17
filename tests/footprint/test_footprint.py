"""What the parts cost before they do anything: time to answer, memory, and metrics that add up."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from processes import Stack
from waiting import eventually
from warren.settings import BrokerSettings

JOB = {"task": "fault.record", "arguments": {"history": "/dev/null", "number": 1}}
MEBIBYTE = 1024 * 1024


@pytest.fixture
def stack(amqp: BrokerSettings, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(folder=tmp_path, broker=amqp, tasks="fault_tasks")
    yield made
    made.stop()


def test_a_server_answers_its_liveness_probe_within_three_seconds_of_its_start(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stack, "_ready", lambda _server: _status(f"{stack.url}/healthz") == 200)
    seconds = []

    for _ in range(3):
        began = time.monotonic()
        server = stack.start_server()
        seconds.append(time.monotonic() - began)
        server.send_signal(signal.SIGTERM)
        server.wait(30)

    with capsys.disabled():
        print(f"\nserver: /healthz after {min(seconds):.1f} s (best of 3)")
    assert min(seconds) <= 3


def test_an_idle_worker_is_small(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    worker = stack.start_worker(WARREN_TASKS="", WARREN_WORKER_QUEUES="default")

    eventually(lambda: "worker_started" in stack.log(), 30)

    resident = _resident_bytes(worker.pid)
    with capsys.disabled():
        print(f"\nidle worker: {resident / MEBIBYTE:.1f} MiB resident")
    assert resident <= 60_000_000


def test_the_metrics_of_several_processes_add_up_and_the_dead_leave_nothing(stack: Stack) -> None:
    server = stack.start_server(WARREN_SERVER_PROCESSES="3")
    eventually(lambda: _value(stack, "warren_broker_connected") == 3, 20)
    for _ in range(90):
        # A connection each, so that every process takes some.
        assert httpx.post(f"{stack.url}/v1/jobs", json=JOB, timeout=10).status_code == 202

    assert _value(stack, "warren_jobs_submitted_total") == 90
    first, *_ = _children(server.pid)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: first not in _children(server.pid) and len(_children(server.pid)) == 3, 20)

    eventually(lambda: _value(stack, "warren_broker_connected") == 3, 20)
    assert _value(stack, "warren_jobs_submitted_total") == 90


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=2).status_code
    except httpx.TransportError:
        return 0


def _value(stack: Stack, name: str) -> float:
    """Return the sum of a metric's samples."""
    text = httpx.get(f"{stack.url}/metrics", timeout=10).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name)


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
