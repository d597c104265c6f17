"""The measures of the benchmarks, on processes that do real tasks and need no broker: their queue is a file."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import agent, drain
from bench.broker import Broker
from bench.contender import Arguments, Command, Contender, Publisher
from bench.drain import Drained, Watch
from bench.errors import BenchError
from bench.measures import backlog, http_submit, latency, memory, publish, startup, worker
from bench.place import Place
from bench.results import Results
from bench.sizes import SMOKE, scaled
from bench.stage import Stage

SIZE = replace(scaled(SMOKE, 0.2), payloads=(64, 1024), few=(), settle_seconds=0.0, latency_rate=200)

WORKER = """
import signal, sys, time
from pathlib import Path
from bench import work
from bench.place import here

number, processes = map(int, sys.argv[1:])
queue, done = Path(here().folder) / "queue", 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
(queue.parent / f"ready-{number}").touch()
while len(list(queue.parent.glob("ready-*"))) < processes:
    time.sleep(0.001)
while True:
    lines = queue.read_text().splitlines() if queue.exists() else []
    for line in lines[done:]:
        if done % processes == number:
            task, _, value = line.partition(" ")
            work.stamp(int(value)) if task == "stamp" else work.TASKS[task]()
            time.sleep(0.001)
        done += 1
    time.sleep(0.001)
"""


class FileQueue(Contender):
    """A job system whose queue is a file."""

    name = "file"
    title = "File"
    environment = "warren"
    measures = Contender.measures | {"backlog", "http"}
    serves = True
    pace = 5.0
    script = WORKER
    results = 0

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        yield _Publisher(Path(place.folder) / "queue")

    def services(self, place: Place, processes: int = 1) -> list[Command]:
        return [Command(name="server", arguments=("-c", "import time; time.sleep(600)"))]

    def workers(self, place: Place, processes: int) -> list[Command]:
        return [
            Command(name=f"worker-{number}", arguments=("-c", self.script, str(number), str(processes)))
            for number in range(processes)
        ]

    def recorded(self, place: Place) -> int | None:
        """Record some more at each look."""
        self.results += 400
        return self.results

    def versions(self, stage: Stage) -> Mapping[str, str]:
        return {}


class _Publisher:
    def __init__(self, queue: Path) -> None:
        self._queue = queue

    def one(self, task: str, arguments: Arguments) -> None:
        self.many(task, [arguments])

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        with self._queue.open("a") as queue:
            queue.writelines(f"{task} {arguments.get('at_ns', 0)}\n" for arguments in jobs)


class _Gauge:
    """Sees nothing in the queue, and as many consumers as are waited for."""

    def __init__(self, left: int) -> None:
        self._left = left

    def __enter__(self) -> _Gauge:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def look(self) -> tuple[int, int]:
        return self._left, 2

    def purge(self) -> None:
        self._left = 0


class Rehearsal(Stage):
    """A stage without a broker."""

    left = 0

    def place(self, contender: Contender) -> Place:
        self._runs += 1
        folder = self._folder / f"{self._runs:02d}"
        (folder / "records").mkdir(parents=True)
        return Place(amqp_url="", management_url="", folder=str(folder), http_port=self.port)

    port = 0

    def agent(self, contender: Contender, action: str, order: Any, place: Place | None = None) -> Any:
        assert place is not None
        os.environ.update(place.environment)
        return agent.ACTIONS[action](contender, order)

    def gauge(self, contender: Contender, place: Place) -> Any:
        return _Gauge(self.left)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    monkeypatch.setenv("BENCH_PLACE", "")
    # With its workers gone the queue has no consumer left, which the gauge cannot know.
    monkeypatch.setattr(drain, "_check_empty", _nothing_left)
    monkeypatch.setattr(drain, "STILL_SECONDS", 10.0)
    made = Rehearsal(
        size=SIZE,
        broker=Broker(url="", management_url=""),
        folder=tmp_path,
        peers_python=Path("/nowhere/python"),
        results=Results(),
        tell=lambda _line: None,
    )
    made.enter(FileQueue())
    return made


def _nothing_left(stage: Rehearsal, contender: Contender, place: Place) -> None:
    if stage.left:
        raise BenchError(f"{stage.left} messages are left")


def values(stage: Stage) -> dict[str, float]:
    return {one.quantity: one.value for one in stage.results.readings}


def test_publishes_are_measured_for_each_mode_and_payload(stage: Rehearsal) -> None:
    publish.measure(stage)

    assert set(values(stage)) == {
        *(f"publish.{mode}.{payload}" for mode in ("one", "bulk") for payload in (64, 1024)),
        "cpu.publish.one",
        "cpu.publish.bulk",
    }
    assert all(value >= 0 for value in values(stage).values())
    assert stage.results.failures == []


def test_drains_give_rates_processor_time_and_memory(stage: Rehearsal) -> None:
    worker.measure(stage)

    found = values(stage)
    assert stage.results.failures == []
    assert set(found) == {
        "worker.noop.rate",
        "worker.noop.recorded",
        "worker.sleep.rate",
        "worker.cpu.rate",
        "worker.cpu.busy",
        "cpu.noop",
        "memory.load.workers",
        "memory.load.server",
    }
    assert all(value > 0 for name, value in found.items() if name.startswith(("worker.sleep", "worker.cpu")))


def test_the_broker_s_processor_time_is_told_apart(stage: Rehearsal) -> None:
    stage.broker = replace(stage.broker, pids=(os.getpid(),))

    worker.measure(stage)

    assert values(stage)["cpu.noop.broker"] > 0


def test_the_share_of_the_cores_is_of_what_the_broker_leaves() -> None:
    begin = drain._Mark(at=0, done=_totals(0), recorded=0, cpu=0, broker_cpu=1.0)
    end = drain._Mark(at=10, done=_totals(9_000_000_000), recorded=0, cpu=0, broker_cpu=6.0)

    assert drain._busy(begin, end, 2) == pytest.approx(9 / 15)
    assert drain._busy(begin, replace(end, done=_totals(0)), 2) is None


def test_messages_that_are_left_are_a_failure(stage: Rehearsal) -> None:
    stage.left = 3

    worker.measure(stage)

    assert stage.results.failures[0] == "worker, noop, File: 3 messages are left"
    assert values(stage) == {}


def test_a_worker_that_dies_is_a_failure_and_its_log_is_told(stage: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileQueue, "script", "raise SystemExit('no broker there')")

    startup.measure(stage)

    (failure,) = stage.results.failures
    assert "worker-0 ended with status 1" in failure
    assert "no broker there" in failure


def test_a_worker_that_does_nothing_is_given_up(stage: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "STILL_SECONDS", 0.1)
    place = stage.place(FileQueue())

    with pytest.raises(BenchError, match="file: 0 jobs were done, then none for"):
        Watch(stage, FileQueue(), place, [], []).until(lambda now: now.jobs > 0)


def test_a_drain_that_is_too_short_for_a_window_gives_the_rate_of_all_and_says_so(
    stage: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(stage, "tell", told.append)

    found = FileQueue().drain(stage, "sleep", 1)

    assert found.rate > 0
    assert "1 jobs were done before every process had begun" in told[0]


def test_the_rate_of_all_is_from_the_first_job_to_the_last() -> None:
    assert drain.overall(replace(_totals(0), jobs=30, first_ns=1_000_000_000, last_ns=4_000_000_000)) == 10


def test_latencies_count_from_the_time_a_job_was_due(stage: Rehearsal) -> None:
    latency.measure(stage)

    found = values(stage)
    assert stage.results.failures == []
    assert 0 < found["latency.p50"] <= found["latency.p99"] <= found["latency.max"]
    assert 0 < found["latency.rate"] <= 210


def test_starts_of_worker_and_server_are_timed(stage: Rehearsal) -> None:
    startup.measure(stage)

    found = values(stage)
    assert stage.results.failures == []
    assert 0 < found["startup.worker"] < 30
    assert 0 <= found["startup.server"] < 30


def test_idle_memory_is_read_of_worker_and_server(stage: Rehearsal) -> None:
    memory.measure(stage)

    found = values(stage)
    assert stage.results.failures == []
    assert found["memory.idle.process"] == found["memory.idle.tree"] > 0
    assert found["memory.idle.server"] > 0


def test_a_backlog_is_looked_at_in_tenths(stage: Rehearsal) -> None:
    backlog.measure(stage)

    found = values(stage)
    assert stage.results.failures == []
    assert {"backlog.submit", "backlog.drain", "backlog.evenness", "backlog.worker-growth"} <= set(found)
    curves = {one.id: one.points for one in stage.results.series}
    assert {"backlog.submit", "backlog.drain", "backlog.memory.workers", "backlog.memory.publisher"} <= set(curves)
    assert [x for x, _ in curves["backlog.drain"]] == list(range(1, 11))
    assert all(len(points) == 10 for points in curves.values())


def test_a_server_is_loaded_closed_and_open(stage: Rehearsal) -> None:
    with _accepting() as port:
        stage.port = port

        http_submit.measure(stage)

    found = values(stage)
    assert stage.results.failures == []
    assert set(found) == {"http.single", "http.batch", "http.p50.100", "http.p99.100"}
    assert found["http.single"] > 0
    assert found["http.batch"] > found["http.single"]


def test_a_drained_queue_of_somebody_else_needs_a_rate_only() -> None:
    assert Drained(rate=1.0).recorded_rate is None


def _totals(cpu_ns: int) -> Any:
    from bench.recorder import Totals

    return Totals(processes=2, jobs=10, cpu_ns=cpu_ns, first_ns=0, last_ns=0)


@contextmanager
def _accepting() -> Iterator[int]:
    """Serve, on a thread of its own, answers that accept as many jobs as were asked for."""
    ready, port = threading.Event(), 0
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from bench.http_load import read_head

        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = read_head(b"HTTP/1.1 200 OK\r\n" + head.partition(b"\r\n")[2])[1]
                jobs = (await reader.readexactly(length)).count(b'"task"')
                body = b'{"jobs":[' + b",".join([b'{"status":202}'] * jobs) + b"]}"
                writer.write(b"HTTP/1.1 202 X\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except asyncio.IncompleteReadError:
            writer.close()

    async def run() -> None:
        nonlocal port
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 22)
        port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await asyncio.get_running_loop().create_future()

    def work() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(run())
        stop.append(lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    stop: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)
    yield port
    stop[0]()
    thread.join(10)
