"""A schedule of one second on two real servers that are killed, and what came of its ticks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from processes import Stack
from waiting import eventually
from warren.settings import BrokerSettings
from warren_server.schedules.catch_up import job_id

NAME = "every-second"


@dataclass(kw_only=True)
class Servers:
    """Two servers of two processes each on one store, a worker, and a schedule that ticks every second.

    Attributes:
        stacks: One stack for each server, so that each has a port of its own.
        history: Where the worker writes a line for each run.
        store: Their store.
        running: The servers' processes.
        lateness: Seconds from tick to fire, by tick.
        kills: Servers killed.
    """

    stacks: list[Stack]
    history: Path
    store: str
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    lateness: dict[str, float] = field(default_factory=dict)
    kills: int = 0

    def start(self, number: int, **environment: str) -> None:
        # Processes that outlived their parent for a moment must not answer for the new server.
        eventually(lambda: not _listens(self.stacks[number].port), 30)
        module = "dying_server" if "DYING_SERVER_AT" in environment else "warren_server"
        server = self.stacks[number].start_server(
            module, WARREN_SERVER_PROCESSES="2", WARREN_STORE_URL=self.store, **environment
        )
        self.running[number:] = [server, *self.running[number + 1 :]]

    def kill(self, number: int) -> None:
        """End all processes of a server with SIGKILL."""
        server = self.running[number]
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        server.kill()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        server.wait(10)
        self.kills += 1

    def kill_at(self, point: str, number: int, mark: Path) -> None:
        """Have a server that starts now die with a tick in its hands."""
        self.start(number, DYING_SERVER_AT=point, DYING_SERVER_MARK=str(mark))
        eventually(mark.exists, 60)
        assert self.running[number].wait(10) == -signal.SIGKILL
        self.kills += 1

    def put(self, **changes: Any) -> dict[str, Any]:
        document = {
            "interval": 1,
            "catch_up": "all",
            "task": "fault.record",
            "arguments": {"history": str(self.history), "number": 0},
            **changes,
        }
        answer = self.request("PUT", f"/v1/schedules/{NAME}", json=document)
        assert answer.status_code in (200, 201), answer.text
        found: dict[str, Any] = answer.json()
        if "start" in changes:
            assert _ms(found["next_at"]) == _ms(changes["start"]), "the schedule was made after its start"
        return found

    def look(self) -> dict[str, Any]:
        """Ask for the schedule, and note how late its last ticks fired."""
        found: dict[str, Any] = self.request("GET", f"/v1/schedules/{NAME}").json()
        for tick in found["last_ticks"]:
            if tick["fired_at"] is not None:
                self.lateness[tick["at"]] = _ms(tick["fired_at"]) / 1000 - _ms(tick["at"]) / 1000
        return found

    def watch(self, done: threading.Event) -> None:
        """Note how late ticks fire, also while a server starts."""
        while not done.wait(2):
            with suppress(httpx.TransportError, LookupError):
                self.look()

    def wait_for_ticks(self, first_ms: int, number: int) -> None:
        """Wait until so many seconds are over, however many of their ticks fired in time."""
        until = first_ms / 1000 + number
        eventually(lambda: time.time() > until, number + 30, 0.5)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        alive = [stack for stack, server in zip(self.stacks, self.running, strict=True) if server.poll() is None]
        return httpx.request(method, alive[0].url + path, timeout=20, **more)

    def outcome(self, number: int) -> Outcome:
        """Pause, wait until all is done, and count."""
        self.request("POST", f"/v1/schedules/{NAME}/pause").raise_for_status()
        eventually(lambda: not [tick for tick in self.look()["last_ticks"] if tick["state"] != "fired"], 30)
        found = self.look()
        created_ms, start_ms = _ms(found["created_at"]), _ms(found["start"])
        last_ms = _ms(found["last_ticks"][0]["at"])
        ticks = range(start_ms, last_ms + 1, 1000)
        assert len(ticks) >= number
        wanted = [job_id(NAME, created_ms, tick) for tick in ticks]
        eventually(lambda: len(set(self._runs())) >= len(wanted), 60)
        return Outcome(wanted=wanted, submitted=self._submitted(), runs=Counter(self._runs()))

    def _runs(self) -> list[str]:
        return [line.split()[0] for line in self.history.read_text().splitlines()]

    def _submitted(self) -> list[str]:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.request("GET", "/v1/jobs", params={"limit": "500", **cursor}).json()
            found += [job["id"] for job in page["jobs"]]
            if page["cursor"] is None:
                return found
            cursor = {"cursor": page["cursor"]}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        wanted: The jobs of all ticks there were, one for each second.
        submitted: The jobs in the store.
        runs: How often each job's code ran.
    """

    wanted: list[str]
    submitted: list[str]
    runs: Counter[str]

    @property
    def duplicates(self) -> int:
        return self.runs.total() - len(self.runs)


@contextmanager
def servers(folder: Path, broker: BrokerSettings, store: str) -> Iterator[Servers]:
    """Start two servers and a worker, and a schedule."""
    stacks = []
    for number in range(2):
        (folder / f"server-{number}").mkdir()
        own = folder / f"server-{number}"
        stacks.append(Stack(folder=own, broker=broker, tasks="fault_tasks", ready_seconds=90))
    history = folder / "history"
    history.touch()
    made = Servers(stacks=stacks, history=history, store=store)
    done = threading.Event()
    watching = threading.Thread(target=made.watch, args=(done,))
    try:
        for number in range(2):
            made.start(number)
        stacks[0].start_worker()
        watching.start()
        yield made
    finally:
        done.set()
        if watching.ident is not None:
            watching.join(30)
        for stack in stacks:
            stack.stop()


def start_in(seconds: int) -> tuple[str, int]:
    """Return a whole second to come, as text and in milliseconds."""
    second = int(time.time()) + seconds
    return datetime.fromtimestamp(second, UTC).isoformat(), second * 1000


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
