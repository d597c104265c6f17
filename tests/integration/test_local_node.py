"""The private RabbitMQ node: it comes up, keeps its data and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from brokers import ExternalBroker
from waiting import eventually
from warren.errors import LocalStackError
from warren.local.node import PrivateNode
from warren.local.ports import is_free
from warren.local.processes import is_alive
from warren.settings import BrokerSettings


def management(node: PrivateNode) -> httpx.Client:
    return httpx.Client(base_url=node.management_url, trust_env=False, timeout=30)


def test_a_stopped_node_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    node = PrivateNode(tmp_path / "node")
    node.start()
    pids, ports = node.pids, node.state.ports
    took_connections = not is_free(node.state.amqp_port)

    node.stop()

    assert took_connections
    assert len(pids) == 2
    assert not [pid for pid in pids if is_alive(pid)]
    assert [port for port in ports if not is_free(port)] == []


def test_a_node_started_again_keeps_its_messages_and_its_address(tmp_path: Path) -> None:
    node = PrivateNode(tmp_path / "node")
    queue = {"durable": True, "arguments": {"x-queue-type": "quorum"}}
    message = {
        "properties": {"delivery_mode": 2},
        "routing_key": "kept",
        "payload": "hello",
        "payload_encoding": "string",
    }
    asked = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    with node, management(node) as before:
        url = node.url
        before.put("/api/queues/%2F/kept", json=queue).raise_for_status()
        before.post("/api/exchanges/%2F/amq.default/publish", json=message).raise_for_status()

    with node, management(node) as after:
        got = after.post("/api/queues/%2F/kept/get", json=asked).raise_for_status().json()
        assert node.url == url

    assert [item["payload"] for item in got] == ["hello"]


def test_a_node_ends_when_its_owner_is_killed_and_its_folder_can_be_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    owner_code = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from warren.local.node import PrivateNode
        node = PrivateNode(Path({str(folder)!r}))
        node.start()
        print(*node.pids, flush=True)
        signal.pause()
    """)
    owner = subprocess.Popen([sys.executable, "-c", owner_code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]

    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()

    assert len(pids) == 2
    eventually(lambda: not any(map(is_alive, pids)), timeout_seconds=30)
    with PrivateNode(folder) as node:
        assert node.running


def test_a_folder_in_use_is_refused_with_its_owner(private_node: ExternalBroker) -> None:
    with pytest.raises(LocalStackError, match=f"in use by process {private_node.owner}"):
        PrivateNode(Path(private_node.folder)).start()


def test_secrets_of_a_node_are_readable_by_its_owner_only(private_node: ExternalBroker) -> None:
    modes = {
        name: stat.S_IMODE((Path(private_node.folder) / name).stat().st_mode)
        for name in ("rabbitmq.conf", "node.json", ".erlang.cookie")
    }

    assert modes == {"rabbitmq.conf": 0o600, "node.json": 0o600, ".erlang.cookie": 0o400}


def test_a_node_that_cannot_start_shows_why(tmp_path: Path) -> None:
    broken = tmp_path / "rabbitmq-server"
    broken.write_text("#!/bin/sh\necho the disk is made of cheese\nexit 3\n")
    broken.chmod(0o755)
    node = PrivateNode(tmp_path / "node", server=broken)

    with pytest.raises(LocalStackError, match="status 3") as raised:
        node.start()

    assert "the disk is made of cheese" in str(raised.value)
    assert node.pids == ()


def test_the_fixture_gives_a_virtual_host_that_works(amqp: BrokerSettings) -> None:
    assert amqp.url is not None
    assert amqp.management_url is not None
    host = amqp.url.get_secret_value().rpartition("/")[2]

    with httpx.Client(base_url=amqp.management_url.get_secret_value(), trust_env=False, timeout=30) as client:
        queues = client.get(f"/api/queues/{host}")

    assert host.startswith("test-")
    assert queues.json() == []


def test_a_taken_port_gives_the_node_new_ports(tmp_path: Path) -> None:
    node = PrivateNode(tmp_path / "node")
    with node:
        before = node.state

    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", before.amqp_port))
        squatter.listen()
        with node:
            after = node.state

    assert after.amqp_port != before.amqp_port
    assert (after.name, after.password) == (before.name, before.password)
