"""A private RabbitMQ node: its own ports, cookie, data, logs and login, all under one folder, on loopback only.

Never the system's node: nothing outside the folder is read or written but the RabbitMQ installation itself. The files a
node of the system reads from `/etc/rabbitmq` are replaced by our own (https://www.rabbitmq.com/docs/configure).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from warren.errors import LocalStackError
from warren.local.ports import MANAGEMENT_OFFSET, free_port, is_free
from warren.local.processes import Child, is_alive, pause, tail

START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 30.0
_USER: Final = "warren"
_PLUGINS: Final = "[rabbitmq_management,rabbitmq_prometheus]."
# Debian's /usr/sbin wrapper only runs as the user rabbitmq or root; the script behind it runs as anyone.
_KNOWN_PLACES: Final = ("/usr/lib/rabbitmq/bin/rabbitmq-server",)
_CONFIGURATION: Final = """\
listeners.tcp.1 = 127.0.0.1:{amqp_port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {prometheus_port}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
# Depths are read from the management API; the default of 5 s makes scaling late.
collect_statistics_interval = 1000
management.rates_mode = basic
# A small write-ahead log: quorum queues keep it in memory until it rolls over (default 512 MiB).
raft.wal_max_size_bytes = 67108864
log.console = false
log.file.level = info
"""
# Quorum queues count themselves every 5 s unless told otherwise, which the interval above does not change. A level of
# the ladder that lost a confirm, as in a partition, tries again after 180 s unless told otherwise.
_ADVANCED: Final = "[{rabbit, [{quorum_tick_interval, 1000}, {dead_letter_worker_publisher_confirm_timeout, 30000}]}]."


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What a node keeps between runs: its name, because data belongs to it, its password and, while free, its ports."""

    name: str
    password: str
    amqp_port: int
    dist_port: int
    epmd_port: int
    prometheus_port: int

    @property
    def management_port(self) -> int:
        """Port of the management API and UI."""
        return self.amqp_port + MANAGEMENT_OFFSET

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port the node listens on."""
        return (self.amqp_port, self.management_port, self.dist_port, self.epmd_port, self.prometheus_port)


class PrivateNode:
    """A RabbitMQ node of our own. Starting again in the same folder finds the data of before.

    Args:
        folder: Where everything of the node is kept; made when absent.
        server: The `rabbitmq-server` script; looked for unless given.
    """

    def __init__(self, folder: Path, server: Path | None = None) -> None:
        self.folder = folder.absolute()
        self._server = server
        self._state: NodeState | None = None
        self._lock: IO[str] | None = None
        self._epmd: Child | None = None
        self._broker: Child | None = None

    @property
    def state(self) -> NodeState:
        """Name, ports and password.

        Raises:
            LocalStackError: The node was not started.
        """
        if self._state is None:
            raise LocalStackError(f"the RabbitMQ node in {self.folder} is not started")
        return self._state

    @property
    def url(self) -> str:
        """AMQP URL with login, default virtual host."""
        return f"amqp://{_USER}:{self.state.password}@127.0.0.1:{self.state.amqp_port}/%2F"

    @property
    def management_url(self) -> str:
        """Base URL of the management API and UI, with login."""
        return f"http://{_USER}:{self.state.password}@127.0.0.1:{self.state.management_port}"

    @property
    def user(self) -> str:
        """Login of the management UI."""
        return _USER

    @property
    def running(self) -> bool:
        """Whether the broker's process runs."""
        return self._broker is not None and self._broker.running

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the broker and its port mapper."""
        return tuple(child.pid for child in (self._broker, self._epmd) if child is not None and child.pid is not None)

    def start(self, timeout_seconds: float = START_SECONDS) -> None:
        """Start the node and wait until it takes connections; does nothing while it runs.

        Raises:
            LocalStackError: There is no RabbitMQ, the folder is in use, or the node does not come up; with its log.
        """
        if not self.running:
            self.begin()
            self.wait_ready(timeout_seconds)

    def wait_ready(self, timeout_seconds: float = START_SECONDS) -> None:
        """Wait until a node that was begun takes connections; one that does not come up is stopped.

        Raises:
            LocalStackError: It does not come up; with its log.
        """
        try:
            self._wait_until_ready(timeout_seconds)
        except BaseException:
            self.stop()
            raise

    def begin(self) -> None:
        """Start the node without waiting for it; does nothing while it runs.

        Raises:
            LocalStackError: There is no RabbitMQ, or the folder is in use.
        """
        if self.running:
            return
        server = self._server or find_server()
        if server is None:
            raise LocalStackError(
                "no rabbitmq-server on this machine; on Debian or Ubuntu: apt-get install rabbitmq-server"
            )
        self._take_folder()
        try:
            self._state = self._load_state()
            self._write_files(self._state)
            self._start_epmd()
            self._start_broker(server)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the node in order and let go of the folder; harmless when it does not run."""
        for child in (self._broker, self._epmd):
            if child is not None:
                child.stop(STOP_SECONDS)
        self._broker = self._epmd = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """Kill the broker as a crash would; `start` brings it back with its data."""
        if self._broker is not None:
            self._broker.kill()
        self.stop()

    def trouble(self) -> str | None:
        """Say how the broker ended, or None while it runs."""
        if self._broker is None or self._broker.running:
            return None
        return f"{self._broker.ended()}\n{self._broker_log()}"

    def __enter__(self) -> PrivateNode:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _take_folder(self) -> None:
        """Lock the folder. The broker inherits the lock, so a node that outlives a killed owner still holds it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (self.folder / "lock").open("a+", encoding="ascii")
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                lock.seek(0)
                owner = int(lock.read() or 0)
                if time.monotonic() > deadline or (owner and is_alive(owner)):
                    lock.close()
                    raise LocalStackError(
                        f"the RabbitMQ node in {self.folder} is in use by process {owner}; stop that first"
                    ) from None
                pause()
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _load_state(self) -> NodeState:
        """Read the state of the last run, with new ports when one of the old is taken."""
        file = self.folder / "node.json"
        known = NodeState(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None
        if known is not None and all(map(is_free, known.ports)):
            return known
        ports = _choose_ports()
        state = NodeState(
            name=known.name if known else f"warren-{secrets.token_hex(4)}@localhost",
            password=known.password if known else secrets.token_urlsafe(24),
            **ports,
        )
        _write_private(file, json.dumps(asdict(state), indent=2))
        return state

    def _write_files(self, state: NodeState) -> None:
        configuration = _CONFIGURATION.format(user=_USER, management_port=state.management_port, **asdict(state))
        _write_private(self.folder / "rabbitmq.conf", configuration)
        _write_private(self.folder / "enabled_plugins", _PLUGINS)
        _write_private(self.folder / "advanced.config", _ADVANCED)
        _write_private(self.folder / "rabbitmq-env.conf", "")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            _write_private(cookie, secrets.token_hex(20), mode=0o400)

    def _start_epmd(self) -> None:
        """Start our own port mapper in the foreground; the broker would start one that outlives it."""
        epmd = _find_epmd()
        self._epmd = Child(
            "epmd",
            [epmd, "-address", "127.0.0.1", "-port", str(self.state.epmd_port)],
            log=self.folder / "log" / "epmd.log",
            environment=self._environment(),
            folder=self.folder,
        )
        self._epmd.start()
        self._wait_for(lambda: not is_free(self.state.epmd_port), self._epmd, 10.0)

    def _start_broker(self, server: Path) -> None:
        assert self._lock is not None  # noqa: S101 - narrows the type for the checker
        self._broker = Child(
            "rabbitmq-server",
            [str(server)],
            log=self.folder / "log" / "console.log",
            environment=self._environment(),
            folder=self.folder,
            keep_open=[self._lock.fileno()],
        )
        self._broker.start()

    def _environment(self) -> dict[str, str]:
        """Return the environment of the node: ours without anything that steers another RabbitMQ or Erlang."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "ERLANG_", "NOTIFY_SOCKET", "WARREN_"))
        }
        folder, state = self.folder, self.state
        return inherited | {
            "HOME": str(folder),
            "PATH": f"{inherited.get('PATH', '')}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ERL_EPMD_PORT": str(state.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(folder / "log" / "erl_crash.dump"),
            "RABBITMQ_NODENAME": state.name,
            "RABBITMQ_DIST_PORT": str(state.dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(folder / "conf.d" / "*.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            # The script then becomes the Erlang machine instead of waiting for it: one process, one signal.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _wait_until_ready(self, timeout_seconds: float) -> None:
        import httpx

        assert self._broker is not None  # noqa: S101
        check = f"/api/health/checks/port-listener/{self.state.amqp_port}"
        # A proxy of the environment must not get between us and loopback.
        with httpx.Client(base_url=self.management_url, trust_env=False, timeout=5.0) as client:

            def ready() -> bool:
                try:
                    return client.get(check).status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

            self._wait_for(ready, self._broker, timeout_seconds)

    def _wait_for(self, condition: Callable[[], bool], child: Child, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if not child.running:
                raise LocalStackError(f"{child.ended()}\n{self._broker_log()}")
            if time.monotonic() > deadline:
                raise LocalStackError(f"{child.name} is not ready after {timeout_seconds:g} s\n{self._broker_log()}")
            pause()

    def _broker_log(self) -> str:
        file = self.folder / "log" / f"{self.state.name}.log"
        return f"the node's log {file} ends with:\n{tail(file)}"


def find_server() -> Path | None:
    """Return the `rabbitmq-server` script of this machine that runs as any user, or None."""
    for place in _KNOWN_PLACES:
        if os.access(place, os.X_OK):
            return Path(place)
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


def _find_epmd() -> str:
    places = [shutil.which("epmd"), "/usr/bin/epmd", *map(str, Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))]
    for place in places:
        if place and os.access(place, os.X_OK):
            return place
    raise LocalStackError("RabbitMQ is there but Erlang's epmd is not on PATH; install Erlang completely (erlang-base)")


def _choose_ports() -> dict[str, int]:
    amqp_port = free_port(also_offset=MANAGEMENT_OFFSET)
    taken = {amqp_port}
    ports = {"amqp_port": amqp_port}
    for name in ("dist_port", "epmd_port", "prometheus_port"):
        port = free_port()
        while port in taken:
            port = free_port()
        taken.add(port)
        ports[name] = port
    return ports


def _write_private(file: Path, text: str, mode: int = 0o600) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as stream:
        stream.write(text)
