"""The contenders of the benchmarks: how they are found, set up and told what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from bench import agent, wire, work
from bench.contender import Arguments, Command, Contender, Publisher, discover, load, module_of
from bench.contenders.perf_test import average
from bench.contenders.warren import Warren, WarrenPrefetch
from bench.errors import BenchError
from bench.peers import HOME, POM, REQUIREMENTS
from bench.place import Place
from warren.task import DEFAULT_TIMEOUT_SECONDS, default_registry

PLACE = Place(amqp_url="amqp://u:p@h/v", management_url="http://u:p@h:1", folder="/f", http_port=8123)


class Recording(Contender):
    """Keeps what it is told to publish."""

    name = "recording"
    title = "Recording"

    def __init__(self) -> None:
        self.published: list[tuple[str, str, Arguments]] = []
        self.one_seconds = 0.0

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        assert place == PLACE
        yield self

    def one(self, task: str, arguments: Arguments) -> None:
        time.sleep(self.one_seconds)
        self.published.append(("one", task, arguments))

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        self.published.extend(("many", task, arguments) for arguments in jobs)

    def workers(self, place: Place, processes: int) -> list[Command]:
        raise NotImplementedError


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    for name, value in PLACE.environment.items():
        monkeypatch.setenv(name, value)
    return Recording()


def test_contenders_are_found_in_their_files_warren_first() -> None:
    found = discover()

    names = [each.name for each in found]
    assert names[0] == "warren"
    assert len(set(names)) == len(names)
    assert {"celery", "dramatiq", "taskiq", "pika-blocking", "pika-select", "perf-test"} <= set(names)
    for each in found:
        assert each.name in [again.name for again in load(module_of(each))]
        assert each.title
        assert each.settings


def test_finding_them_imports_none_of_them() -> None:
    code = (
        "import sys; from bench.contender import discover; discover();"
        "print([name for name in ('celery', 'dramatiq', 'taskiq', 'aio_pika', 'psutil') if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [each.name for each in discover() if each.environment == "peers"])
def test_a_peer_needs_nothing_of_warren_in_its_interpreter(name: str) -> None:
    module = next(module_of(each) for each in discover() if each.name == name)
    code = (
        f"import sys, bench.agent; from bench.contender import load; load({module!r});"
        "print(sorted(each for each in sys.modules if each.split('.')[0] in ('warren', 'httpx', 'pika', 'psutil')))"
    )

    found = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_all_peers_are_pinned() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    pinned = {re.split(r"[\[=]", line)[0] for line in lines}

    assert all(re.fullmatch(r"[a-z-]+(\[\w+\])?==[\d.]+", line) for line in lines)
    for each in discover():
        if each.environment == "peers":
            assert set(each.distributions) <= pinned, each.name
    assert "<artifactId>perf-test</artifactId>" in POM.read_text()


def test_warren_is_started_as_users_start_it() -> None:
    (server,), workers = Warren().services(PLACE), Warren().workers(PLACE, 2)

    assert server.arguments == ("-m", "warren_server")
    assert server.ready_url == "http://127.0.0.1:8123/readyz"
    assert server.environment["WARREN_STORE_URL"] == "sqlite:////f/store.db"
    assert [worker.arguments for worker in workers] == [("-m", "warren_worker")] * 2
    assert default_registry.get("bench.noop").timeout_seconds == DEFAULT_TIMEOUT_SECONDS
    set_here = {name for name in workers[0].environment if name.startswith("WARREN_WORKER_")}
    assert set_here == {"WARREN_WORKER_QUEUES"}
    assert WarrenPrefetch().workers(PLACE, 1)[0].environment["WARREN_WORKER_PREFETCH"] == "100"


def test_warren_counts_what_was_recorded_since_the_run_began(tmp_path: Path) -> None:
    import sqlite3

    place = Place(amqp_url="", management_url="", folder=str(tmp_path), began_ms=0x0199_0000_0000)
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("CREATE TABLE jobs (id TEXT, state TEXT)")
        rows = [
            ("01980000-0000-7000-8000-000000000000", "succeeded"),
            ("01990000-0000-7000-8000-000000000000", "succeeded"),
            ("01990000-0001-7000-8000-000000000000", "queued"),
            ("0199ffff-0001-7000-8000-000000000000", "succeeded"),
        ]
        connection.executemany("INSERT INTO jobs VALUES (?, ?)", rows)
    connection.close()

    assert Warren().recorded(place) == 2


def test_contenders_that_record_nothing_say_so() -> None:
    assert all(each.recorded(PLACE) is None for each in discover() if not each.name.startswith("warren"))


def test_a_bare_client_runs_what_its_messages_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setitem(work.TASKS, "noop", lambda *, payload: seen.append(payload))

    wire.run(wire.encode("noop", {"payload": "é"}))

    assert seen == ["é"]


def test_the_average_of_perf_test_is_read_from_its_last_lines() -> None:
    printed = (
        "id: test, time 1.000 s, sent: 10 msg/s\n"
        "id: test, sending rate avg: 1234 msg/s\n"
        "id: test, receiving rate avg: 0 msg/s\n"
    )

    assert average(printed, "sending") == 1234
    with pytest.raises(BenchError, match="no receiving rate"):
        average("Main thread caught exception", "receiving")


def test_jobs_are_published_one_at_a_time_and_in_bulk(recording: Recording) -> None:
    orders = [
        {"mode": "one", "payload": 3, "seconds": 0.02},
        {"mode": "bulk", "payload": 5, "seconds": 0.001},
    ]

    one, bulk = agent.publish(recording, orders)

    assert one["rate"] > 0
    assert bulk["rate"] > 0
    assert one["cpu_seconds"] >= 0
    assert {kind for kind, _, arguments in recording.published if arguments == {"payload": "xxx"}} == {"one"}
    assert {kind for kind, _, arguments in recording.published if arguments == {"payload": "xxxxx"}} == {"many"}


def test_a_bulk_of_large_jobs_is_bounded_by_its_bytes(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_MOST_BYTES", 1000 * 300)

    agent.publish(recording, [{"mode": "bulk", "payload": 1000, "seconds": 5}])

    assert sum(arguments == {"payload": "x" * 1000} for _, _, arguments in recording.published) == 200 + 300


def test_a_queue_is_filled_in_equal_parts(recording: Recording) -> None:
    parts = agent.fill(recording, {"task": "cpu", "jobs": 30, "payload": 1, "parts": 3})

    assert len(parts) == 3
    assert all(part["rate"] > 0 and part["resident"] > 0 for part in parts)
    assert [task for _, task, _ in recording.published] == ["cpu"] * 30
    with pytest.raises(ValueError, match="31 jobs cannot be cut into 3"):
        agent.fill(recording, {"task": "cpu", "jobs": 31, "payload": 1, "parts": 3})


def test_paced_jobs_carry_the_time_they_were_due_however_late_they_come(recording: Recording) -> None:
    recording.one_seconds = 0.01

    told = agent.pace(recording, {"rate": 1000, "seconds": 0.02})

    due = [arguments["at_ns"] for _, task, arguments in recording.published if task == "stamp"]
    assert len(due) == told["jobs"] == 20
    assert {later - earlier for earlier, later in pairwise(due)} == {1_000_000}
    # Each takes ten times as long as there is time for it.
    assert told["latest_ms"] >= 150
    assert told["rate"] < 150


def test_the_agent_answers_in_its_last_line(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agent, "load", lambda _module: [recording])

    agent.main(["recording", "recording", "prepare", "null"])
    agent.main(["recording", "recording", "versions", json.dumps(["pytest"])])

    answers = [line.removeprefix(agent.MARK) for line in capsys.readouterr().out.splitlines() if line]
    assert json.loads(answers[0]) is None
    assert json.loads(answers[1])["pytest"] == pytest.__version__
