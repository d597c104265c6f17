"""Several real server processes on one broker and one store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from postgres import PrivatePostgres
from processes import Stack, free_port
from waiting import eventually
from warren.settings import BrokerSettings

JOB = {"task": "fault.record", "arguments": {"history": "/dev/null", "number": 1}}


@pytest.fixture
def stack(amqp: BrokerSettings, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(folder=tmp_path, broker=amqp, tasks="fault_tasks")
    yield made
    made.stop()


def test_a_job_is_found_at_once_by_every_process(stack: Stack) -> None:
    stack.start_server(WARREN_SERVER_PROCESSES="3")

    for _ in range(60):
        # A connection each, so that any of the processes may take it.
        taken = httpx.post(f"{stack.url}/v1/jobs", json=JOB, timeout=10)
        shown = httpx.get(stack.url + taken.json()["url"], timeout=10)

        assert (taken.status_code, shown.status_code) == (202, 200)


def test_a_server_answers_within_seconds_while_its_broker_is_away(tmp_path: Path) -> None:
    nowhere = BrokerSettings.model_validate({"url": f"amqp://127.0.0.1:{free_port()}"})
    stack = Stack(folder=tmp_path, broker=nowhere, tasks="fault_tasks")
    try:
        stack._ready = lambda _server: True  # type: ignore[method-assign]
        stack.start_server()
        eventually(lambda: _status(f"{stack.url}/healthz") == 200, 10)

        assert _status(f"{stack.url}/readyz") == 503
        assert httpx.post(f"{stack.url}/v1/jobs", json=JOB, timeout=10).json()["type"] == "/problems/broker-unavailable"
    finally:
        stack.stop()


def test_a_stop_finishes_the_requests_at_hand_and_leaves_nothing(stack: Stack) -> None:
    server = stack.start_server()
    taken = httpx.post(f"{stack.url}/v1/jobs", json=JOB, timeout=10).json()
    answers: list[int] = []
    waiting = threading.Thread(
        target=lambda: answers.append(httpx.get(f"{stack.url}{taken['url']}?wait=3", timeout=10).status_code)
    )
    waiting.start()
    eventually(lambda: _connections(stack.port) > 0)

    server.terminate()

    waiting.join(15)
    assert answers == [200]
    assert server.wait(30) == 0


def _connections(port: int) -> int:
    """Count the established connections of a local port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.timeout(240)
def test_a_store_away_under_load_costs_no_submit_and_no_row(stack: Stack, kind: str, tmp_path: Path) -> None:
    postgres = PrivatePostgres(free_port()) if kind == "postgresql" else None
    try:
        if postgres is not None:
            postgres.start()
        store = postgres.url if postgres else f"sqlite:///{tmp_path}/store.db"
        stack.start_server(WARREN_STORE_URL=store)
        stack.start_worker()
        statuses: list[int] = []
        ids: list[str] = []
        done = threading.Event()

        def load() -> None:
            with httpx.Client(base_url=stack.url, timeout=20) as client:
                while not done.is_set():
                    answer = client.post("/v1/jobs", json=JOB)
                    statuses.append(answer.status_code)
                    if answer.status_code == 202:
                        ids.append(answer.json()["id"])
                    done.wait(0.02)

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(ids) > 20)

        _take_away_for(20, postgres, tmp_path / "store.db")

        before = len(ids)
        eventually(lambda: len(ids) > before + 20, 20)
        done.set()
        for thread in threads:
            thread.join(30)
        assert set(statuses) == {202}
        eventually(lambda: _count(stack, "succeeded") == len(ids), 60)
    finally:
        stack.stop()
        if postgres is not None:
            postgres.remove()


def _take_away_for(seconds: float, postgres: PrivatePostgres | None, path: Path) -> None:
    if postgres is not None:
        postgres.stop()
        threading.Event().wait(seconds)
        postgres.start()
        return
    holder = sqlite3.connect(path, isolation_level=None)
    eventually(lambda: _locked(holder), 10)
    threading.Event().wait(seconds)
    holder.execute("ROLLBACK")
    holder.close()


def _locked(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


def _count(stack: Stack, state: str) -> int:
    queues = httpx.get(f"{stack.url}/v1/queues", timeout=20).json()["queues"]
    return sum((queue["jobs"] or {}).get(state, 0) for queue in queues)


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WARREN_SERVER_BIND": "8000"}, "WARREN_SERVER_BIND is '8000': must be host:port"),
        ({"WARREN_SERVER_PROCESSES": "0"}, "WARREN_SERVER_PROCESSES is '0'"),
        ({"WARREN_STORE_URL": "mysql://x"}, "WARREN_STORE_URL is (secret): must begin with sqlite:// or postgresql://"),
        ({"WARREN_AUTH": "perhaps"}, "WARREN_AUTH is 'perhaps'"),
        ({"WARREN_SERVER_BIND": "0.0.0.0:0"}, "WARREN_AUTH=none"),
        ({"WARREN_TUTORIAL": "1"}, "WARREN_TUTORIAL is 1"),
        ({"WARREN_CATALOG": "/nonexistent.json"}, "WARREN_CATALOG is '/nonexistent.json'"),
        ({"WARREN_SCHEDULES": "/nonexistent.toml"}, "WARREN_SCHEDULES is '/nonexistent.toml'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_setting_stops_the_server_with_its_name(
    environment: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    ended = subprocess.run([sys.executable, "-m", "warren_server"], cwd=tmp_path, capture_output=True, timeout=30)

    assert ended.returncode == 2
    assert said in ended.stderr.decode()


def test_the_schema_is_brought_up_to_date_on_the_command_line(tmp_path: Path) -> None:
    migrate = [sys.executable, "-m", "warren_server", "migrate"]
    first = subprocess.run(migrate, cwd=tmp_path, capture_output=True, timeout=30)
    again = subprocess.run(migrate, cwd=tmp_path, capture_output=True, timeout=30)
    tables = sqlite3.connect(tmp_path / "warren.db").execute("SELECT name FROM sqlite_master").fetchall()

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert ("tokens",) in tables


def test_a_schema_that_cannot_be_brought_up_to_date_is_status_2_with_address_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARREN_STORE_URL", "postgresql://warren:hidden@127.0.0.1:9/warren")

    ended = subprocess.run(
        [sys.executable, "-m", "warren_server", "migrate"], cwd=tmp_path, capture_output=True, timeout=30
    )

    assert ended.returncode == 2
    assert "WARREN_STORE_URL is postgresql+psycopg://warren:***@127.0.0.1:9/warren: the store cannot be" in str(
        ended.stderr
    )
    assert b"hidden" not in ended.stderr


def test_the_first_token_is_made_on_the_command_line(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "warren_server", "token", "create", "--scopes", "submit,read"],
        cwd=tmp_path, capture_output=True, timeout=30,
    )  # fmt: skip

    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith(b"wrn_")
