"""The broker that all contenders work on, and a virtual host for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import httpx
import pika
from pika.exceptions import AMQPError

from warren.local.node import PrivateNode
from warren.local.ports import MANAGEMENT_OFFSET

URL_VARIABLE: Final = "WARREN_BENCH_BROKER"
MANAGEMENT_VARIABLE: Final = "WARREN_BENCH_MANAGEMENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """A running RabbitMQ.

    Attributes:
        url: AMQP URL with login; the virtual host does not matter.
        management_url: Base URL of the management API, with login; an administrator's.
        pids: Its processes, when it is ours.
    """

    url: str
    management_url: str
    pids: tuple[int, ...] = ()

    def version(self) -> str:
        """Return its version and that of Erlang."""
        with self._management() as management:
            told = management.get("/api/overview").raise_for_status().json()
        return f"RabbitMQ {told['rabbitmq_version']}, Erlang {told['erlang_version']}"

    def make_vhost(self, name: str) -> str:
        """Make a virtual host, anew when it is there, and return its AMQP URL."""
        login = urlsplit(self.url).username or "guest"
        with self._management() as management:
            management.delete(f"/api/vhosts/{name}")
            management.put(f"/api/vhosts/{name}").raise_for_status()
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            management.put(f"/api/permissions/{name}/{login}", json=everything).raise_for_status()
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop_vhost(self, name: str) -> None:
        """Remove a virtual host with all that is in it."""
        with self._management() as management:
            management.delete(f"/api/vhosts/{name}").raise_for_status()

    def _management(self) -> httpx.Client:
        return httpx.Client(base_url=self.management_url, trust_env=False, timeout=60)


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """Start a private node, as the tests do, or use the one that `WARREN_BENCH_BROKER` names."""
    given = os.environ.get(URL_VARIABLE, "")
    if given:
        yield Broker(url=given, management_url=os.environ.get(MANAGEMENT_VARIABLE) or management_of(given))
        return
    with PrivateNode(folder) as node:
        yield Broker(url=node.url, management_url=node.management_url, pids=node.pids)


def management_of(url: str) -> str:
    """Return the management URL that usually goes with an AMQP URL: same host and login, AMQP port plus 10000."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0] or "guest:guest"
    return f"http://{login}@{parts.hostname}:{(parts.port or 5672) + MANAGEMENT_OFFSET}"


class QueueGauge:
    """Looks at one queue over a connection of its own; asking a queue directly is exact at any moment.

    Args:
        url: Broker, login and virtual host.
        queue: The queue's name.
    """

    def __init__(self, url: str, queue: str) -> None:
        self._queue = queue
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()

    def look(self) -> tuple[int, int]:
        """Return how many messages are ready, and how many consumers there are; 0 and 0 when there is no queue."""
        try:
            found = self._channel.queue_declare(self._queue, passive=True).method
        except AMQPError:
            self._channel = self._connection.channel()
            return 0, 0
        return int(found.message_count), int(found.consumer_count)

    def purge(self) -> None:
        """Throw away what is ready."""
        self._channel.queue_purge(self._queue)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def __enter__(self) -> QueueGauge:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
