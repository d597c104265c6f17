"""Brokers that a fault may strike: a private node, a container, or one that others run and nobody may strike."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx
import pytest

from brokers import ExternalBroker
from waiting import eventually
from warren.local.ports import MANAGEMENT_OFFSET, free_port
from warren.settings import BrokerSettings


class Broker(Protocol):
    """A broker under test; it may be one node, several, or a container."""

    @property
    def url(self) -> str:
        """AMQP URL with login, default virtual host."""
        ...

    @property
    def management_url(self) -> str:
        """Base URL of the management API, with login."""
        ...

    def start(self) -> None:
        """Start it, or start it again with its data, and wait until it takes connections."""
        ...

    def kill(self) -> None:
        """End it with SIGKILL."""
        ...

    def stop(self) -> None:
        """Stop it in order."""
        ...


REFUSED_AGAIN_MS = 30_000
"""As the chart and the local broker set it: when a level of the ladder offers again what the next one refused."""


class ContainerNode:
    """RabbitMQ in a container of ours, on loopback.

    Args:
        image: Image with the management plugin on, such as `rabbitmq:4.3-management`.
    """

    def __init__(self, image: str) -> None:
        self._name = f"warren-faults-{uuid.uuid4().hex[:8]}"
        self._image = image
        self._port = free_port(also_offset=MANAGEMENT_OFFSET)
        self._made = False

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}/%2F"

    @property
    def management_url(self) -> str:
        return f"http://guest:guest@127.0.0.1:{self._port + MANAGEMENT_OFFSET}"

    def start(self) -> None:
        if self._made:
            self._docker("start", self._name)
        else:
            ports = [f"127.0.0.1:{self._port}:5672", f"127.0.0.1:{self._port + MANAGEMENT_OFFSET}:15672"]
            published = [part for port in ports for part in ("-p", port)]
            arguments = f"-rabbit dead_letter_worker_publisher_confirm_timeout {REFUSED_AGAIN_MS}"
            setting = ["-e", f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={arguments}"]
            # The node's name is of its host name, and its data of the node's name.
            named = ["--name", self._name, "--hostname", "warren-faults"]
            self._docker("run", "-d", *named, *setting, *published, self._image)
            self._made = True
        eventually(self._listens, 90, 0.1)

    def kill(self) -> None:
        self._docker("kill", "-s", "KILL", self._name)

    def stop(self) -> None:
        self._docker("stop", self._name)

    def remove(self) -> None:
        """Leave nothing behind."""
        self._docker("rm", "-f", "-v", self._name)

    def execute(self, *command: str) -> str:
        """Run a program in the container and return what it prints."""
        return self._docker("exec", self._name, *command)

    def _listens(self) -> bool:
        try:
            with httpx.Client(base_url=self.management_url, trust_env=False, timeout=5) as client:
                return client.get("/api/health/checks/port-listener/5672").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _docker(self, *arguments: str) -> str:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()


class ForeignNode:
    """A broker that others run: faults of the broker itself are skipped on it."""

    def __init__(self, url: str) -> None:
        found = ExternalBroker.from_url(url)
        self.url = found.url
        self.management_url = found.management_url

    def start(self) -> None:
        pass

    def kill(self) -> None:
        pytest.skip(f"the broker at {urlsplit(self.url).hostname} is not ours to kill")

    def stop(self) -> None:
        pytest.skip(f"the broker at {urlsplit(self.url).hostname} is not ours to stop")


class Management:
    """What faults need of a broker's management API: virtual hosts, depths, connections, the version."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._client = httpx.Client(trust_env=False, timeout=30)

    def close(self) -> None:
        self._client.close()

    def version(self) -> str:
        return str(self._get("/api/overview")["rabbitmq_version"])

    def add_vhost(self) -> BrokerSettings:
        """Make a virtual host, and return the settings of it."""
        vhost = f"fault-{uuid.uuid4().hex[:12]}"
        login = str(urlsplit(self._broker.url).username)
        self._ask("PUT", f"/api/vhosts/{vhost}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._ask("PUT", f"/api/permissions/{vhost}/{login}", json=everything)
        return BrokerSettings.model_validate(
            {"url": self._broker.url.rpartition("/")[0] + f"/{vhost}", "management_url": self._broker.management_url}
        )

    def remove_vhost(self, settings: BrokerSettings) -> None:
        self._ask("DELETE", f"/api/vhosts/{vhost_of(settings)}")

    def depths(self, settings: BrokerSettings) -> dict[str, int]:
        """Return ready and unacknowledged messages of each quorum queue; the broker counts every second or five."""
        queues = self._get(f"/api/queues/{vhost_of(settings)}?columns=name,type,messages")
        return {queue["name"]: queue.get("messages", 0) for queue in queues if queue.get("type") != "stream"}

    def delete_queue(self, settings: BrokerSettings, queue: str) -> None:
        self._ask("DELETE", f"/api/queues/{vhost_of(settings)}/{queue}")

    def delete_exchange(self, settings: BrokerSettings, exchange: str) -> None:
        self._ask("DELETE", f"/api/exchanges/{vhost_of(settings)}/{exchange}")

    def unbind(self, settings: BrokerSettings, exchange: str, queue: str) -> None:
        """Take away all bindings between an exchange and a queue."""
        between = f"/api/bindings/{vhost_of(settings)}/e/{exchange}/q/{queue}"
        for binding in self._get(between):
            self._ask("DELETE", f"{between}/{quote(binding['properties_key'], safe='')}")

    def set_policy(self, settings: BrokerSettings, name: str, policy: Mapping[str, Any]) -> None:
        self._ask("PUT", f"/api/policies/{vhost_of(settings)}/{name}", json=policy)

    def close_connections(self, settings: BrokerSettings, pid: int, reason: str) -> int:
        """Close the AMQP connections of a process of ours, as an operator does; return how many there were."""
        found = [
            str(connection["name"])
            for connection in self._get(f"/api/vhosts/{vhost_of(settings)}/connections")
            if str(connection.get("client_properties", {}).get("connection_name", "")).endswith(f" {pid}")
        ]
        for each in found:
            self._ask("DELETE", f"/api/connections/{quote(each, safe='')}", headers={"X-Reason": reason})
        return len(found)

    def _get(self, path: str) -> Any:
        return self._ask("GET", path).json()

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        # Read anew each time: the node of a cluster that answers is another when one is down.
        answer = self._client.request(method, f"{self._broker.management_url}{path}", **options)
        answer.raise_for_status()
        return answer


def vhost_of(settings: BrokerSettings) -> str:
    """Return the virtual host of a URL."""
    assert settings.url is not None
    return urlsplit(settings.url.get_secret_value()).path.removeprefix("/")
