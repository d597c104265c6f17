"""The local stack: it comes up, keeps its data, reports what dies, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually
from warren.client import Client
from warren.errors import LocalStackError
from warren.local.ports import free_port, is_free
from warren.local.processes import is_alive
from warren.local.stack import Stack, StackOptions
from warren.settings import BrokerSettings

EXAMPLES = Path(__file__).parents[2] / "examples"
WARREN = Path(sys.executable).with_name("warren")
QUICK = {"WARREN_SCALER_INTERVAL_SECONDS": "0.2", "WARREN_SCALER_STABLE_SECONDS": "1", "WARREN_SCALER_MAX": "2"}


def descendants(pid: int) -> set[int]:
    """Return the ids of all processes below one."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found - {pid}


@pytest.fixture
def on_this_broker(amqp: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have stacks of this test use the session's broker, and the example tasks."""
    assert amqp.url is not None
    assert amqp.management_url is not None
    monkeypatch.setenv("WARREN_AMQP_URL", amqp.url.get_secret_value())
    monkeypatch.setenv("WARREN_AMQP_MANAGEMENT_URL", amqp.management_url.get_secret_value())
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))


@pytest.fixture
def stack(on_this_broker: None, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(options(tmp_path), lambda _text: None)
    yield made
    made.stop()


def options(folder: Path) -> StackOptions:
    return StackOptions(folder=folder, bind=f"127.0.0.1:{free_port()}", tasks="warren_examples.tasks", settings=QUICK)


def test_a_job_makes_a_worker_come_and_go(stack: Stack) -> None:
    stack.start()
    stack.start()

    with Client(stack.url) as client:
        job = client.wait(client.submit("greet", {"cmd": "hey"}), timeout_seconds=60)

    assert job.result == "hey there"
    eventually(lambda: not workers(stack), timeout_seconds=30)


def test_a_stopped_stack_leaves_no_process_and_keeps_its_records(stack: Stack) -> None:
    stack.start()
    pids = descendants(os.getpid())
    with Client(stack.url) as client:
        job = client.wait(client.submit("greet", {"cmd": "hello"}), timeout_seconds=60)
    stack.stop()
    stack.stop()
    left = [pid for pid in stack.pids if is_alive(pid)]

    stack.start()
    with Client(stack.url) as client:
        again = client.job(job.id)

    assert left == []
    assert len(pids) >= 2
    assert again.state == "succeeded"


def test_a_part_that_dies_is_reported_with_its_log(stack: Stack) -> None:
    stack.start()
    stack.check()

    os.kill(stack.pids[1], signal.SIGKILL)

    assert eventually(lambda: complaint(stack)).startswith("scaler ended with status -9; its log")


def test_an_address_in_use_is_refused(stack: Stack, tmp_path: Path) -> None:
    stack.start()
    second = Stack(StackOptions(folder=tmp_path / "second", bind=stack.url.removeprefix("http://")), lambda _text: None)

    with pytest.raises(LocalStackError, match=r"port \d+ is in use"):
        second.start()


def test_a_server_that_cannot_start_shows_why(on_this_broker: None, tmp_path: Path) -> None:
    wrong = StackOptions(folder=tmp_path, bind=f"127.0.0.1:{free_port()}", tasks="no.such.module")
    stack = Stack(wrong, lambda _text: None)

    with pytest.raises(LocalStackError, match="server ended with status") as raised:
        stack.start()

    assert "no.such.module" in str(raised.value)
    assert stack.pids == ()


def test_a_crashed_worker_is_replaced_and_its_jobs_finish(stack: Stack) -> None:
    stack.start()
    with Client(stack.url) as client:
        first = client.submit("greet", {"cmd": "hey"})
        worker = eventually(lambda: workers(stack), timeout_seconds=30).pop()

        os.kill(worker, signal.SIGKILL)
        second = client.submit("greet", {"cmd": "hello"})

        assert client.wait(first, timeout_seconds=60).succeeded
        assert client.wait(second, timeout_seconds=60).succeeded


def test_up_tells_the_addresses_and_control_c_stops_everything(on_this_broker: None, tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {"WARREN_SERVER_BIND": f"127.0.0.1:{port}", "WARREN_TASKS": "warren_examples.tasks"}
    with (tmp_path / "up.log").open("w") as log:
        up = subprocess.Popen([WARREN, "up"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    eventually(lambda: "Ctrl-C" in (tmp_path / "up.log").read_text(), timeout_seconds=60)
    below = descendants(up.pid)

    up.send_signal(signal.SIGINT)
    status = up.wait(60)

    said = (tmp_path / "up.log").read_text()
    assert status == 0
    assert f"server: http://127.0.0.1:{port}" in said
    assert said.endswith("stopped\n")
    assert len(below) >= 2
    assert [pid for pid in below if is_alive(pid)] == []
    assert is_free(port)


def test_a_killed_up_takes_everything_with_it(on_this_broker: None, tmp_path: Path) -> None:
    environment = os.environ | {
        "WARREN_SERVER_BIND": f"127.0.0.1:{free_port()}",
        "WARREN_TASKS": "warren_examples.tasks",
        "WARREN_SCALER_MIN": "1",
    }
    with (tmp_path / "up.log").open("w") as log:
        up = subprocess.Popen([WARREN, "up"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    eventually(lambda: "Ctrl-C" in (tmp_path / "up.log").read_text(), timeout_seconds=60)
    eventually(lambda: list((tmp_path / ".warren" / "logs").glob("worker-*.log")), timeout_seconds=30)
    below = descendants(up.pid)

    up.kill()
    up.wait()

    eventually(lambda: not [pid for pid in below if is_alive(pid)], timeout_seconds=60)


def complaint(stack: Stack) -> str:
    """Return what the stack finds wrong with its parts, or nothing."""
    try:
        stack.check()
    except LocalStackError as error:
        return str(error)
    return ""


def workers(stack: Stack) -> set[int]:
    """Return the ids of the scaler's children."""
    return descendants(stack.pids[1])
