"""Which RabbitMQ a local stack uses: the first that can be had.

1. `WARREN_AMQP_URL`: somebody else's broker.
2. A `rabbitmq-server` on this machine, run as a private node.
3. Docker Compose, when an engine answers.
4. As root on Debian or Ubuntu: the distribution's package, its service left off, then as 2.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warren.amqp.parameters import endpoint
from warren.errors import LocalStackError
from warren.local import compose, packages
from warren.local.node import PrivateNode, find_server
from warren.settings import BrokerSettings, load

COMPOSE_FILE: Final = "docker-compose.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBroker:
    """A broker to work with.

    Attributes:
        taken: Which one it is, for people.
        environment: What the parts of the stack need to reach it.
        wait_ready: Waits until it takes connections, if it is ours.
        stop: Stops it, if it is ours.
        trouble: Returns why it no longer works, if that is ours to know.
        management: Address and login of the management UI, for people, if it is ours.
    """

    taken: str
    environment: dict[str, str]
    wait_ready: Callable[[], None]
    stop: Callable[[], None]
    trouble: Callable[[], str | None]
    management: str | None = None


def take_broker(folder: Path, say: Callable[[str], None], *, keep: bool = True) -> LocalBroker:
    """Find a broker, begin to start it if it is ours, and say which it is.

    Args:
        folder: Where a broker of ours keeps its data.
        say: Tells people what happens.
        keep: Whether the data are wanted again; if not, stopping is a kill, which is quicker.

    Raises:
        LocalStackError: There is none and none can be had; with what to install.
    """
    if os.environ.get("WARREN_AMQP_URL"):
        broker = _given()
    elif find_server() is not None:
        broker = _private(folder, keep)
    elif Path(COMPOSE_FILE).exists() and compose.engine_answers():
        broker = _composed(folder)
    elif packages.can_install():
        say("no RabbitMQ here: installing rabbitmq-server (its service is left off) ...")
        packages.install_rabbitmq()
        broker = _private(folder, keep)
    else:
        raise LocalStackError(f"no RabbitMQ to work with; {packages.ADVICE}")
    say(f"broker: {broker.taken}")
    return broker


def _given() -> LocalBroker:
    where = endpoint(load(BrokerSettings))
    return LocalBroker(
        taken=f"WARREN_AMQP_URL, at {where.host}:{where.port}",
        environment={},
        wait_ready=lambda: None,
        stop=lambda: None,
        trouble=lambda: None,
    )


def _private(folder: Path, keep: bool) -> LocalBroker:
    node = PrivateNode(folder / "rabbitmq")
    node.begin()
    state = node.state
    return LocalBroker(
        taken=f"private RabbitMQ node {state.name}, AMQP 127.0.0.1:{state.amqp_port}, data in {node.folder}",
        environment={"WARREN_AMQP_URL": node.url},
        wait_ready=node.wait_ready,
        stop=node.stop if keep else node.kill,
        trouble=node.trouble,
        management=f"http://127.0.0.1:{state.management_port} (user {node.user}, password {state.password})",
    )


def _composed(folder: Path) -> LocalBroker:
    broker = compose.ComposeBroker(Path(COMPOSE_FILE).absolute(), folder)
    try:
        broker.start()
    except BaseException:
        broker.stop()
        raise
    return LocalBroker(
        taken="Docker Compose, service rabbitmq",
        environment={"WARREN_AMQP_URL": broker.url},
        wait_ready=lambda: None,
        stop=broker.stop,
        trouble=lambda: None,
    )
