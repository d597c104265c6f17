"""Three RabbitMQ nodes as processes of this machine, and a service in front of them as Kubernetes has one."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from faults.service import Service
from waiting import eventually
from warren.local.node import NodeState, PrivateNode
from warren.local.ports import MANAGEMENT_OFFSET, free_port

CONTROL_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmqctl"
SIZE = 3
_CLUSTER = """
cluster_formation.peer_discovery_backend = classic_config
cluster_partition_handling = pause_minority
queue_leader_locator = balanced
net_ticktime = 5
"""


class Member(PrivateNode):
    """One node of a cluster: its port mapper and cookie are the cluster's.

    Args:
        folder: Where it keeps its data.
        state: Its name and ports.
        peers: Names of all nodes.
        cookie: What lets them talk to each other.
    """

    def __init__(self, folder: Path, state: NodeState, peers: list[str], cookie: str) -> None:
        super().__init__(folder)
        self._fixed = state
        self._peers = peers
        self._cookie = cookie

    @property
    def name(self) -> str:
        return self._fixed.name

    def control(self, *command: str) -> str:
        """Run `rabbitmqctl` on the node."""
        return run_control(self._environment(), self._fixed.name, *command)

    def pause(self) -> None:
        """Let the node hang: it keeps its sockets and answers nothing."""
        os.killpg(self.pids[0], signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self.pids[0], signal.SIGCONT)

    def _load_state(self) -> NodeState:
        return self._fixed

    def _write_files(self, state: NodeState) -> None:
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(self._cookie)
            cookie.chmod(0o400)
        super()._write_files(state)
        nodes = (f"cluster_formation.classic_config.nodes.{n} = {name}" for n, name in enumerate(self._peers, 1))
        with (self.folder / "rabbitmq.conf").open("a") as file:
            file.write(_CLUSTER + "\n".join(nodes) + "\n")

    def _start_epmd(self) -> None:
        """Use the cluster's."""

    def _environment(self) -> dict[str, str]:
        environment = super()._environment()
        # Erlang 25 would let the two nodes that still see each other part as well.
        environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += " -kernel prevent_overlapping_partitions false"
        return environment


class Cluster:
    """A cluster; a context manager. Clients reach it through its service, which leads to any node that listens.

    Args:
        folder: Where its nodes keep their data.
    """

    def __init__(self, folder: Path) -> None:
        cookie, password, epmd_port = secrets.token_hex(20), secrets.token_urlsafe(24), free_port()
        names = [f"warren-{letter}-{secrets.token_hex(3)}@localhost" for letter in "abc"[:SIZE]]
        self.members = [
            Member(folder / letter, _state(name, password, epmd_port), names, cookie)
            for letter, name in zip("abc", names, strict=False)
        ]
        self._password = password
        self._epmd_port = epmd_port
        self._folder = folder
        self._epmd: subprocess.Popen[bytes] | None = None
        self._port = free_port(also_offset=MANAGEMENT_OFFSET)
        self._open = ExitStack()
        self.service: Service

    @property
    def url(self) -> str:
        return f"amqp://warren:{self._password}@127.0.0.1:{self._port}/%2F"

    @property
    def management_url(self) -> str:
        return f"http://warren:{self._password}@127.0.0.1:{self._port + MANAGEMENT_OFFSET}"

    def start(self) -> None:
        """Start every node that does not run, and wait until all are one cluster."""
        if self._epmd is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._epmd = subprocess.Popen(
                ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)], env=_bare() | {"HOME": "/"}
            )
        for member in self.members:
            if not member.running:
                member.begin()
        for member in self.members:
            member.wait_ready()
        eventually(self._is_whole, 60, 0.2)

    def kill(self) -> None:
        """Kill every node."""
        for member in self.members:
            member.kill()

    def stop(self) -> None:
        """Stop every node in order."""
        for member in self.members:
            member.stop()

    def leader(self, vhost: str, queue: str) -> Member:
        """Return the node that leads a queue."""
        name = self.ask(f"/api/queues/{vhost}/{queue}")["leader"]
        return next(member for member in self.members if member.name == name)

    def ask(self, path: str) -> Any:
        """Ask the management API of whichever node listens."""
        answer = httpx.get(f"{self.management_url}{path}", trust_env=False, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def separate(self, lonely: Member) -> None:
        """Cut a node off from the others: from one moment to the next it expects a cookie that they do not have.

        In one go, because while one of the others still saw it, all would pause until the whole cluster is back.
        """
        others = [member for member in self.members if member is not lonely]
        names = ", ".join(f"'{member.name}'" for member in others)
        lonely.control(
            "eval",
            f"Others = [{names}], [erlang:set_cookie(Other, 'not-of-theirs') || Other <- Others], "
            "[erlang:disconnect_node(Other) || Other <- Others].",
        )
        eventually(lambda: all(_sees(member) == len(others) for member in others), 60, 0.2)

    def rejoin(self) -> None:
        """Let all nodes talk to each other again."""
        for member in self.members:
            for peer in self.members:
                if peer is not member:
                    member.control("eval", f"erlang:set_cookie('{peer.name}', erlang:get_cookie()).")
            for peer in self.members:
                if peer is not member:
                    member.control("eval", f"net_kernel:connect_node('{peer.name}').")
        eventually(self._is_whole, 60, 0.2)

    def __enter__(self) -> Cluster:
        try:
            self.start()
            self.service = self._open.enter_context(
                Service([("127.0.0.1", member.state.amqp_port) for member in self.members], self._port)
            )
            self._open.enter_context(
                Service(
                    [("127.0.0.1", member.state.management_port) for member in self.members],
                    self._port + MANAGEMENT_OFFSET,
                )
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._open.close()
        self.stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()

    def _is_whole(self) -> bool:
        return all(_sees(member) == SIZE for member in self.members)


def _sees(member: Member) -> int:
    """Return how many nodes run, as one of them sees it; none when it does not answer."""
    try:
        answer = httpx.get(f"{member.management_url}/api/nodes?columns=name,running", trust_env=False, timeout=30)
    except httpx.TransportError:
        return 0
    return sum(node["running"] for node in answer.json()) if answer.status_code == httpx.codes.OK else 0


def run_control(environment: dict[str, str], name: str, *command: str) -> str:
    """Run `rabbitmqctl` on a node of ours."""
    done = subprocess.run(
        [CONTROL_PROGRAM, "-q", "-n", name, *command], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"rabbitmqctl {' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def _state(name: str, password: str, epmd_port: int) -> NodeState:
    return NodeState(
        name=name,
        password=password,
        amqp_port=free_port(also_offset=MANAGEMENT_OFFSET),
        dist_port=free_port(),
        epmd_port=epmd_port,
        prometheus_port=free_port(),
    )


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
