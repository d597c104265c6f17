"""Real servers and workers as child processes of a test, stopped with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from waiting import eventually
from warren.settings import BrokerSettings

TESTS = Path(__file__).parent


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(kw_only=True)
class Stack:
    """A server and workers on one broker, each a process of its own with its log in `folder`.

    Attributes:
        folder: Where store and logs go.
        broker: The broker they use.
        tasks: Value of `WARREN_TASKS`.
        environment: Further variables for all of them.
        ready_seconds: How long a server may take to be ready.
    """

    folder: Path
    broker: BrokerSettings
    tasks: str
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 90
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_server(self, module: str = "warren_server", **environment: str) -> subprocess.Popen[bytes]:
        """Start the server, and wait until it is ready."""
        server = self.begin_server(module, **environment)
        eventually(lambda: self._ready(server), self.ready_seconds)
        return server

    def begin_server(
        self, module: str = "warren_server", *, runner: str = "", **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start the server, and do not wait.

        Args:
            module: The program.
            runner: Module that runs the program in its own way, such as `failpoints`.
            environment: Its own variables.
        """
        variables = {"WARREN_SERVER_BIND": f"127.0.0.1:{self.port}"} | environment
        return self._start(module, runner, **variables)

    def start_worker(self, *, runner: str = "", **environment: str) -> subprocess.Popen[bytes]:
        return self._start("warren_worker", runner, WARREN_PROBE_BIND="127.0.0.1:0", **environment)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process with SIGKILL, as an out-of-memory killer would."""
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

    def log(self) -> str:
        """Return the end of all logs, for the message of a failed test."""
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log")))

    def variables(self, **environment: str) -> dict[str, str]:
        """Return the environment of a program of this stack, with variables of its own."""
        assert self.broker.url is not None
        management = self.broker.management_url
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "examples")]),
            "WARREN_AMQP_URL": self.broker.url.get_secret_value(),
            **({"WARREN_AMQP_MANAGEMENT_URL": management.get_secret_value()} if management else {}),
            "WARREN_STORE_URL": f"sqlite:///{self.folder / 'store.db'}",
            "WARREN_TASKS": self.tasks,
            **self.environment,
            **environment,
        }

    def _start(self, module: str, runner: str = "", **environment: str) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        with (self.folder / f"{number:02d}-{module}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *filter(None, (runner, module))],
                env=self.variables(**environment),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def _ready(self, server: subprocess.Popen[bytes]) -> bool:
        if server.poll() is not None:
            raise AssertionError(f"the server ended with {server.returncode}:\n{self.log()}")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False
