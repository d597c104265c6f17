"""The whole system on this machine: broker, server, and a scaler that keeps the workers; `warren up`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from warren.errors import LocalStackError
from warren.lifecycle import Closing, StopSignal
from warren.local.broker import LocalBroker, take_broker
from warren.local.ports import free_port, is_free
from warren.local.processes import Child, pause

FOLDER: Final = Path(".warren")
DEFAULT_BIND: Final = "127.0.0.1:8000"
READY_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = 30.0
# The scaler waits this much longer for its workers, and the stack for the scaler.
_FLUSH_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What a local stack is like.

    Attributes:
        folder: Where data and logs are.
        bind: `host:port` of the server.
        tasks: Modules with tasks, separated by commas.
        settings: Further `WARREN_*` variables of the parts; they beat the environment's.
        keep: Whether the broker's data are wanted again.
    """

    folder: Path = FOLDER
    bind: str = DEFAULT_BIND
    tasks: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    keep: bool = True


class Stack:
    """Broker, server and scaler as children of this process. Stopping drains the workers first, the broker goes last.

    Args:
        options: What it is like.
        say: Tells people what happens.
    """

    def __init__(self, options: StackOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._folder = options.folder.absolute()
        self._closing = Closing()
        self._children: list[Child] = []
        self._broker: LocalBroker | None = None
        self._scaler_port = 0

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return f"http://{self._options.bind}"

    @property
    def scaler_url(self) -> str:
        """Base URL of the scaler's probes and metrics; only after `start`."""
        return f"http://127.0.0.1:{self._scaler_port}"

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self._folder / "logs"

    @property
    def management(self) -> str | None:
        """Address and login of the broker's management UI, for people, if the broker is ours."""
        return None if self._broker is None else self._broker.management

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of server and scaler."""
        return tuple(child.pid for child in self._children if child.pid is not None)

    def start(self) -> None:
        """Start everything and wait until it takes jobs. Call from the main thread.

        Raises:
            LocalStackError: A part does not come up; with the end of its log.
        """
        if self._children:
            return
        self._check_address()
        try:
            self._broker = take_broker(self._folder, self._say, keep=self._options.keep)
            self._closing.add("broker", self._broker.stop)
            self._scaler_port = free_port()
            environment = self._environment(self._broker)
            # All start at once: the server and the scaler wait for a broker that is not up yet.
            server = self._start("server", "warren_server", environment)
            environment |= {"WARREN_PROBE_BIND": f"127.0.0.1:{self._scaler_port}"}
            scaler = self._start("scaler", "warren_scaler", environment, "local")
            self._broker.wait_ready()
            self._wait_until_ready(server, f"{self.url}/readyz")
            self._wait_until_ready(scaler, f"{self.scaler_url}/healthz")
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """See that every part still runs.

        Raises:
            LocalStackError: One has ended; with the end of its log.
        """
        for child in self._children:
            if not child.running:
                raise LocalStackError(child.ended())
        trouble = None if self._broker is None else self._broker.trouble()
        if trouble:
            raise LocalStackError(trouble)

    def stop(self) -> None:
        """Drain and stop everything; harmless when nothing runs."""
        self._closing.close()
        self._children = []
        self._broker = None

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _check_address(self) -> None:
        """Refuse a port in use: whoever listens there would be taken for our server."""
        port = urlsplit(self.url).port
        if port and not is_free(port):
            raise LocalStackError(f"port {port} is in use; stop what listens there or set WARREN_SERVER_BIND")

    def _environment(self, broker: LocalBroker) -> dict[str, str]:
        """Return the environment of the parts: our defaults, then the caller's choices, then where things are."""
        defaults = {
            "WARREN_STORE_URL": f"sqlite:///{self._folder / 'warren.db'}",
            "WARREN_TUTORIAL": "1",
            "WARREN_DRAIN_SECONDS": f"{DRAIN_SECONDS:g}",
            "WARREN_LOG_FORMAT": "console",
        }
        places = {
            "WARREN_TASKS": self._options.tasks,
            "WARREN_SERVER_BIND": self._options.bind,
            "WARREN_SCALER_LOG_FOLDER": str(self.logs),
        }
        return defaults | dict(os.environ) | dict(self._options.settings) | broker.environment | places

    def _start(self, name: str, module: str, environment: dict[str, str], *arguments: str) -> Child:
        command = [sys.executable, "-m", module, *arguments]
        child = Child(name, command, log=self.logs / f"{name}.log", environment=environment)
        child.start()
        self._children.append(child)
        self._closing.add(name, lambda: child.stop(DRAIN_SECONDS + 2 * _FLUSH_SECONDS))
        return child

    def _wait_until_ready(self, child: Child, url: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(url):
            self.check()
            if time.monotonic() > deadline:
                raise LocalStackError(f"{child.name} is not ready after {READY_SECONDS:g} s; see {child.log}")
            pause()


def up(
    *,
    tasks: str | None = None,
    bind: str | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    folder: Path | None = None,
) -> int:
    """Run the local stack in the foreground until Ctrl-C, then drain and stop it.

    Args:
        tasks: Modules with tasks; `WARREN_TASKS` unless given.
        bind: `host:port` of the server; `WARREN_SERVER_BIND`, else 127.0.0.1:8000, unless given.
        minimum: Fewest workers; `WARREN_SCALER_MIN`, else 0, unless given.
        maximum: Most workers; `WARREN_SCALER_MAX`, else 8, unless given.
        folder: Where data and logs are; `.warren` unless given.

    Returns:
        The exit status.

    Raises:
        LocalStackError: A part does not come up, or ended.
    """
    bounds = {"WARREN_SCALER_MIN": minimum, "WARREN_SCALER_MAX": maximum}
    options = StackOptions(
        folder=folder or FOLDER,
        tasks=tasks or os.environ.get("WARREN_TASKS", ""),
        bind=bind or os.environ.get("WARREN_SERVER_BIND") or DEFAULT_BIND,
        settings={name: str(value) for name, value in bounds.items() if value is not None},
    )
    stop = StopSignal()
    stop.install()
    stack = Stack(options, _say)
    with stack:
        _say(_greeting(stack))
        while not stop.wait(0.5):
            stack.check()
        _say("draining and stopping ...")
    _say("stopped")
    return 0


def _greeting(stack: Stack) -> str:
    lines = [
        f"server: {stack.url}",
        f"scaler: {stack.scaler_url}/metrics (starts workers when there are jobs)",
        f"logs:   {stack.logs}",
    ]
    if stack.management:
        lines.append(f"RabbitMQ management: {stack.management}")
    lines += ["", "Try, in another terminal:", f"  export WARREN_URL={stack.url}"]
    lines += [
        "  .venv/bin/warren submit greet cmd=hey --wait",
        "  .venv/bin/warren jobs",
        "",
        "Ctrl-C drains and stops.",
    ]
    return "\n".join(lines)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
