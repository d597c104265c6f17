"""The stage of a fault: a broker's virtual host, servers and workers as processes, a load, and the judgement."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from faults.checker import FINAL, Bounds, Ending, Verdict, judge
from faults.history import History, Kind, Line
from faults.load import MIX, Load, Sort, send
from faults.nodes import Broker, Management
from faults.report import Report, Row
from processes import Stack
from waiting import eventually
from warren.amqp import connect
from warren.local.processes import is_alive

CONCURRENCY = 10
PREFETCH = 13
"""Jobs a worker holds: the default for this concurrency, said here because duplicates are bounded by it."""
WATCH_SECONDS = 0.5


class Stage:
    """Everything one fault test needs; a context manager that leaves nothing behind.

    Args:
        folder: For store, logs and history.
        broker: The broker under test; started.
        report: Where the result goes.
    """

    def __init__(self, folder: Path, broker: Broker, report: Report) -> None:
        self.folder = folder
        self.broker = broker
        self.management = Management(broker)
        self.version = self.management.version()
        self.settings = self.management.add_vhost()
        self.history = History(folder / "history.jsonl")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.stack = Stack(
            folder=folder,
            broker=self.settings,
            tasks="fault_tasks",
            environment={
                "FAULT_HISTORY": str(self.history.path),
                "WARREN_AMQP_RECONNECT_MAX_SECONDS": "1",
                "WARREN_LOG_FORMAT": "console",
            },
        )
        self._report = report
        self._loads: list[Load] = []
        self._accepted: set[str] = set()
        self._stuck: dict[str, int] = {}
        self._watch = Watch(folder / "store.db", self.history)

    def __enter__(self) -> Stage:
        self._watch.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._watch.stop()
        for process in self.stack.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        self.stack.stop()
        self.management.remove_vhost(self.settings)
        self.management.close()

    def start_server(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the server, and wait until it is ready."""
        return self.stack.start_server(**environment)

    def begin_dying_server(self, point: str, hits: int) -> subprocess.Popen[bytes]:
        """Start a server that dies at a failpoint, and do not wait: under load it may die as soon as it is ready.

        Args:
            point: The point, see `failpoints`.
            hits: How often it comes there.
        """
        runner, armed = _armed((point, hits))
        return self.stack.begin_server(runner=runner, **armed)

    def start_worker(
        self, *, dies_at: tuple[str, int] | None = None, runner: str = "", **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker.

        Args:
            dies_at: A failpoint and how often the worker comes there, see `failpoints`.
            runner: Module that runs the program in its own way, when there is no failpoint.
            environment: Its own variables.
        """
        runner, armed = _armed(dies_at) if dies_at else (runner, {})
        settings = {"WARREN_WORKER_CONCURRENCY": str(CONCURRENCY), "WARREN_WORKER_PREFETCH": str(PREFETCH)}
        worker = self.stack.start_worker(runner=runner, **(settings | armed | environment))
        self.workers.append(worker)
        return worker

    def wait_death(self, process: subprocess.Popen[bytes], what: str, timeout_seconds: float = 120) -> float:
        """Wait until a process has died at its failpoint, and return when."""
        status = process.wait(timeout_seconds)
        at = self.fault(what)
        assert status == -signal.SIGKILL, f"{what}: ended with {status}\n{self.stack.log()}"
        return at

    @contextmanager
    def load(self, *, rate: float = 220.0, mix: Sequence[Sort] = MIX, name: str = "load") -> Iterator[Load]:
        """Submit jobs for the length of a with-block."""
        load = Load(self.stack.url, self.history, rate=rate, mix=mix, name=name)
        self._loads.append(load)
        with load:
            yield load

    def fault(self, what: str) -> float:
        """Note in the history that the fault strikes now, and return the time."""
        self.history.add("fault", what=what)
        return time.monotonic()

    def kill(self, process: subprocess.Popen[bytes], what: str) -> float:
        """End a process with SIGKILL, and return when."""
        at = self.fault(what)
        self.stack.kill(process)
        return at

    def wait_effects(self, count: int, timeout_seconds: float = 120) -> None:
        """Wait until so many effects are in the history."""
        eventually(lambda: self.history.count("effect") >= count, timeout_seconds, 0.05)

    def wait_more_effects(self, more: int, timeout_seconds: float = 120) -> None:
        """Wait for further effects, so that a fault strikes while work goes on, or to see that it does again."""
        self.wait_effects(self.history.count("effect") + more, timeout_seconds)

    def wait_first(self, kind: Kind, after: float, timeout_seconds: float = 90) -> float:
        """Wait until something of a kind happens after a time, and return when it did."""
        return eventually(
            lambda: next((line.at for line in self.history.lines() if line.kind == kind and line.at > after), 0.0),
            timeout_seconds,
            0.1,
        )

    def wait_start(self, key: str, *, after: float = 0.0, timeout_seconds: float = 60) -> Line:
        """Wait until the job of a submit starts, after a time."""
        return eventually(
            lambda: next(
                (
                    line
                    for line in self.history.lines()
                    if line.kind == "start" and line.key == key and line.at >= after
                ),
                None,
            ),
            timeout_seconds,
            0.05,
        )  # type: ignore[return-value]

    def occupy(self, worker: subprocess.Popen[bytes], name: str, seconds: float = 2.0) -> None:
        """Submit jobs that take a while, until a worker has begun one of them just now.

        Args:
            worker: The worker.
            name: Prefix of their keys.
            seconds: How long each takes.
        """
        for number in itertools.count():
            key = f"{name}-{number}"
            self.submit(Sort(task="fault.sleeping", arguments={"seconds": seconds}), [key])
            if self.wait_start(key).data["pid"] == worker.pid:
                return

    def submit(self, sort: Sort, keys: Sequence[str]) -> None:
        """Submit a few jobs of a sort, named by their keys."""
        with httpx.Client(base_url=self.stack.url, timeout=30, trust_env=False) as client:
            send(client, self.history, [(key, sort) for key in keys])

    def settle(self, timeout_seconds: float = 180) -> Ending:
        """Wait until every accepted job is final and nothing is left; stop everything; look what is there.

        Once nobody consumes any more, depths are exact, which the broker's statistics are not. A second copy of a job
        that is final may still be on its way then, so servers and workers come back for it, once.
        """
        with counting(self) as depths:
            self._wait_empty(depths, timeout_seconds)
            if any(depths().values()) and not self._stuck:
                self.history.add("fault", what="servers and workers come back for what was on its way")
                self.start_server()
                self.start_worker()
                self._wait_empty(depths, timeout_seconds)
            left = depths()
        self._watch.stop()
        return Ending(depths=left | self._stuck, states=stored_states(self.folder / "store.db"))

    def _wait_empty(self, depths: Callable[[], dict[str, int]], timeout_seconds: float) -> None:
        """Wait for the end of all work, then stop everything; what does not end in time is noted as stuck."""
        self._stuck = {}
        try:
            eventually(self._all_final, timeout_seconds, 0.25)
            eventually(lambda: not any(depths().values()), 60, 0.25)
            eventually(lambda: not any(self.management.depths(self.settings).values()), 60, 0.5)
        except AssertionError as error:
            # Not an error of the test: the checker says which jobs and queues it is about.
            self.history.add("fault", what=f"did not settle: {error!s:.200}")
            self._stuck = {queue: count for queue, count in self.management.depths(self.settings).items() if count}
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            worker.wait(40)
        self.stack.stop()

    def finish(
        self,
        fault: str,
        *,
        bounds: Bounds,
        recovery_seconds: float | None = None,
        timeout_seconds: float = 180,
        note: str = "",
    ) -> Verdict:
        """Settle, judge, report, and fail when an invariant does not hold or the load was too low.

        Args:
            fault: Its row in the report, such as `F1 SIGKILL of a worker`.
            bounds: What it may do.
            recovery_seconds: How long recovery took.
            timeout_seconds: How long settling may take.
            note: Further figures, for the report.
        """
        found = self.settle(timeout_seconds)
        ending = Ending(depths=found.depths, states=found.states, recovery_seconds=recovery_seconds)
        verdict = judge(self.history.lines(), ending, bounds)
        rate = max((load.jobs_per_second for load in self._loads), default=0.0)
        row = Row.of(fault, self.version, verdict, jobs_per_second=rate, note=note)
        self._report.add(row)
        print(f"\n{row.summary}")
        assert verdict.ok, f"{verdict}\n{self.stack.log()}"
        assert not self._loads or rate >= 200, f"the load was {rate:.0f} jobs/s, at least 200 are promised"
        return verdict

    def _all_final(self) -> bool:
        # Once the load is over, nothing more is accepted.
        if len(self._accepted) != self.history.count("accepted"):
            self._accepted = {line.job for line in self.history.lines() if line.kind == "accepted"}
        states = stored_states(self.folder / "store.db")
        accepted = self._accepted
        return all(states.get(job) in FINAL for job in accepted | set(states))


def _armed(dies_at: tuple[str, int]) -> tuple[str, dict[str, str]]:
    name, hits = dies_at
    return "failpoints", {"FAILPOINT": name, "FAILPOINT_HITS": str(hits), "WARREN_SERVER_PROCESSES": "1"}


class Watch:
    """Notes each final state the store shows, while the run goes on: one that changes later is then seen twice.

    Args:
        database: The server's SQLite file.
        history: Where the states go.
    """

    def __init__(self, database: Path, history: History) -> None:
        self._database = database
        self._history = history
        self._seen: set[tuple[str, str]] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Look a last time, and end. Idempotent."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            last = self._stopping.wait(WATCH_SECONDS)
            new = {(job, state) for job, state in stored_states(self._database).items() if state in FINAL} - self._seen
            self._seen |= new
            now = time.monotonic()
            self._history.extend(
                Line(kind="terminal", at=now, job=job, data={"state": state}) for job, state in sorted(new)
            )


def stored_states(database: Path) -> dict[str, str]:
    """Read the state of every job from the server's SQLite file; none while there is no such table yet."""
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        if not connection.execute("select 1 from sqlite_master where name = 'jobs'").fetchone():
            return {}
        return dict(connection.execute("select id, state from jobs"))


@contextmanager
def counting(stage: Stage) -> Iterator[Callable[[], dict[str, int]]]:
    """Open a connection of the test's own, and yield what counts the ready messages of all quorum queues exactly."""
    names = sorted(stage.management.depths(stage.settings))
    transport = connect(stage.settings)
    transport.start()
    try:
        assert transport.wait_ready(30)
        yield lambda: {name: transport.depth(name).result(30).ready for name in names}
    finally:
        transport.stop()


def sizes(short: int, full: int) -> list[object]:
    """Return the parameters of a test that `make test` runs in short and `make faults` in full."""
    return [pytest.param(short, marks=pytest.mark.short), pytest.param(full, marks=pytest.mark.full)]


def children_of(pid: int) -> list[int]:
    """Return the ids of a process' children."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    found = {int(child) for file in threads for child in file.read_text().split()} | {int(c) for c in text.split()}
    return sorted(child for child in found if is_alive(child))


def end(pid: int) -> None:
    """SIGKILL a process by its id."""
    os.kill(pid, signal.SIGKILL)
