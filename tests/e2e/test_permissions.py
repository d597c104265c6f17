"""Logins of the topology chart, tried on a real broker: what each must be able to do, and that all else is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pika
import pika.exceptions
import pytest

from e2e.commands import ENVIRONMENT, forwarded
from e2e.installation import Installation
from e2e.namespaces import Namespace
from warren.topology import topology

VHOST = "warren"

Try = Callable[[Any], object]
"""Something to do on a channel."""

CONFIGURE: dict[str, Try] = {
    "declare a queue of ours": lambda channel: channel.queue_declare("warren.q.mine", durable=True),
    "declare any queue": lambda channel: channel.queue_declare("mine", durable=True),
    "declare an exchange": lambda channel: channel.exchange_declare("warren.mine", "fanout"),
    "delete a queue": lambda channel: channel.queue_delete("warren.q.default"),
    "delete an exchange": lambda channel: channel.exchange_delete("warren.jobs"),
}
REFUSED: dict[str, dict[str, Try]] = {
    "server": {
        **CONFIGURE,
        **{f"publish to {name or 'the default exchange'}": lambda channel, name=name: publish(channel, name)
           for name in ("", "amq.topic", "warren.dead", "warren.events")},
        **{f"read {name}": lambda channel, name=name: channel.basic_get(name)
           for name in ("warren.q.default", "warren.unroutable", "warren.delay.00")},
        "purge a job queue": lambda channel: channel.queue_purge("warren.q.default"),
        "follow the control stream": lambda channel: consume(channel, "warren.control"),
        "bind a job queue to the jobs": lambda channel: channel.queue_bind("warren.q.default", "warren.jobs", "mine"),
    },
    "worker": {
        **CONFIGURE,
        **{f"publish to {name or 'the default exchange'}": lambda channel, name=name: publish(channel, name)
           for name in ("", "amq.topic", "warren.tokens")},
        **{f"read {name}": lambda channel, name=name: channel.basic_get(name)
           for name in ("warren.dead", "warren.events", "warren.unroutable", "warren.delay.00")},
        "purge the dead letters": lambda channel: channel.queue_purge("warren.dead"),
        "bind a job queue elsewhere": lambda channel: channel.queue_bind("warren.q.default", "warren.tokens", "mine"),
    },
    "monitor": {
        **CONFIGURE,
        "publish a job": lambda channel: publish(channel, "warren.jobs"),
        "read a job": lambda channel: channel.basic_get("warren.q.default"),
        "look at a queue": lambda channel: channel.queue_declare("warren.q.default", passive=True),
    },
    "scaler": {
        **CONFIGURE,
        **{f"publish to {name or 'the default exchange'}": lambda channel, name=name: publish(channel, name)
           for name in ("", "warren.jobs", "warren.events", "warren.dead", "warren.tokens")},
        "read a job": lambda channel: channel.basic_get("warren.q.default"),
        "follow the control stream": lambda channel: consume(channel, "warren.control"),
    },
}  # fmt: skip
ALLOWED: dict[str, dict[str, Try]] = {
    # No queue is bound by this key: that the message comes back says that it was taken.
    "server": {
        "publish jobs": lambda channel: comes_back(channel, "warren.jobs"),
        "publish tokens": lambda channel: comes_back(channel, "warren.tokens"),
        "read events": lambda channel: consume(channel, "warren.events"),
        "read dead letters": lambda channel: consume(channel, "warren.dead"),
    },
    "worker": {
        "publish jobs": lambda channel: comes_back(channel, "warren.jobs"),
        "read jobs": lambda channel: consume(channel, "warren.q.default"),
        "follow the control stream": lambda channel: consume(channel, "warren.control"),
    },
    "scaler": {"give orders": lambda channel: channel.basic_publish("warren.control", "", b"{}", mandatory=True)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker can be reached from here.

    Attributes:
        amqp: Port of AMQP.
        management: Port of the management API.
        namespace: Where the logins are.
    """

    amqp: int
    management: int
    namespace: Namespace

    def login(self, who: str) -> tuple[str, str]:
        held = self.namespace.secret(f"warren-{who}-user-credentials")
        return held["username"], held["password"]


def publish(channel: Any, exchange: str) -> None:
    channel.basic_publish(exchange, "warren.q.no-such-queue", b"{}", mandatory=True)


def comes_back(channel: Any, exchange: str) -> None:
    with pytest.raises(pika.exceptions.UnroutableError):
        publish(channel, exchange)


def consume(channel: Any, queue: str) -> None:
    """Become a consumer; what it is given goes back when the channel closes."""
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None)


@pytest.fixture(scope="module")
def broker(installation: Installation) -> Iterator[Broker]:
    namespace = installation.namespace
    with forwarded(namespace.name, "service/warren-rabbitmq", 5672, 15672) as (amqp, management):
        yield Broker(amqp=amqp, management=management, namespace=namespace)


@contextmanager
def channel_of(broker: Broker, who: str, vhost: str = VHOST) -> Iterator[Any]:
    parameters = pika.ConnectionParameters(
        "127.0.0.1", broker.amqp, vhost, pika.PlainCredentials(*broker.login(who)), blocked_connection_timeout=10
    )
    connection = pika.BlockingConnection(parameters)
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    finally:
        if connection.is_open:
            connection.close()


@pytest.mark.parametrize(("who", "what"), [(who, what) for who, tries in REFUSED.items() for what in tries])
def test_all_that_a_login_does_not_need_is_refused(broker: Broker, who: str, what: str) -> None:
    with (
        channel_of(broker, who) as channel,
        pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED") as refused,
    ):
        REFUSED[who][what](channel)

    assert refused.value.reply_code == 403


@pytest.mark.parametrize(("who", "what"), [(who, what) for who, tries in ALLOWED.items() for what in tries])
def test_what_a_login_needs_is_granted(broker: Broker, who: str, what: str) -> None:
    with channel_of(broker, who) as channel:
        ALLOWED[who][what](channel)

        assert channel.is_open


@pytest.mark.parametrize("who", ["server", "worker"])
def test_server_and_worker_see_every_exchange_and_queue(broker: Broker, who: str) -> None:
    wanted = topology(["default"])

    with channel_of(broker, who) as channel:
        for exchange in wanted.exchanges:
            channel.exchange_declare(exchange.name, passive=True)
        for queue in wanted.queues:
            channel.queue_declare(queue.name, passive=True)

        assert channel.is_open


@pytest.mark.parametrize("who", ["server", "worker", "monitor", "scaler"])
def test_no_login_gets_into_another_virtual_host(broker: Broker, who: str) -> None:
    with (
        pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="access to vhost '/' refused"),
        channel_of(broker, who, "/"),
    ):
        pass


@pytest.mark.parametrize(
    ("who", "path", "status"),
    [
        ("monitor", "queues/warren", 200),
        ("monitor", "policies/warren", 200),
        ("monitor", "users", 401),
        ("scaler", "queues/warren", 200),
        ("scaler", "users", 401),
        ("server", "queues/warren", 401),
        ("worker", "queues/warren", 401),
    ],
)
def test_only_monitor_and_scaler_get_into_the_management_api_and_no_further(
    broker: Broker, who: str, path: str, status: int
) -> None:
    answer = httpx.get(f"http://127.0.0.1:{broker.management}/api/{path}", auth=broker.login(who), trust_env=False)

    assert answer.status_code == status


@pytest.mark.parametrize("who", ["server", "worker"])
def test_the_topology_passes_its_check_with_the_login(broker: Broker, who: str) -> None:
    username, password = broker.login(who)
    watcher, secret = broker.login("monitor")
    environment = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("WARREN_")} | {
        "WARREN_AMQP_HOST": "127.0.0.1",
        "WARREN_AMQP_PORT": str(broker.amqp),
        "WARREN_AMQP_VHOST": VHOST,
        "WARREN_AMQP_USERNAME": username,
        "WARREN_AMQP_PASSWORD": password,
        "WARREN_AMQP_MANAGEMENT_URL": f"http://{watcher}:{secret}@127.0.0.1:{broker.management}",
        "WARREN_AMQP_TOPOLOGY": "check",
    }

    done = subprocess.run(
        [str(Path(sys.executable).parent / "warren"), "topology", "check", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "not looked at" not in done.stderr
