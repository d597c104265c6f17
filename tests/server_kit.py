"""A server process's parts on the in-memory transport, for unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from waiting import eventually
from warren.envelope import Message
from warren.memory import MemoryTransport
from warren.settings import BrokerSettings
from warren.task import Registry, task
from warren.tokens import token_topology
from warren.topology import topology
from warren_server.app import create_app
from warren_server.parts import Parts, ServerConfig
from warren_server.settings import AuthSettings, OfferSettings, ServerSettings, StoreSettings
from warren_server.store.engine import Database
from warren_server.tasks import from_registry

QUEUES = ["default", "media", "spare"]


@dataclass
class Kit:
    """The parts, the broker they publish to, and a client of their application."""

    parts: Parts
    transport: MemoryTransport
    client: FlaskClient

    def submit(self, **request: Any) -> Any:
        return self.client.post("/v1/jobs", json={"task": "greet", "arguments": {"cmd": "hey"}, **request})

    def queued(self, queue: str = "default") -> list[Message]:
        return self.transport.messages(f"warren.q.{queue}")


def registry() -> Registry:
    made = Registry()

    @task(registry=made)
    def greet(cmd: str) -> str:
        """Answer a greeting."""
        return cmd

    @task(registry=made, queue="media")
    def resize(width: int, name: str = "") -> int:
        return width

    return made


def store_settings(folder: Path) -> StoreSettings:
    return StoreSettings.model_validate({"url": f"sqlite:///{folder}/warren.db", "wait_seconds": 1.0, "keep_days": 0})


def database(folder: Path) -> Database:
    return Database(store_settings(folder))


@contextmanager
def running(
    folder: Path,
    server: dict[str, Any] | None = None,
    auth: str = "auto",
    auth_token_file: Path | None = None,
    auth_read_token_file: Path | None = None,
    **offer: Any,
) -> Iterator[Kit]:
    transport = MemoryTransport()
    config = ServerConfig(
        server=ServerSettings.model_validate({"publish_wait_seconds": 0, "confirm_seconds": 0.3, **(server or {})}),
        store=store_settings(folder),
        broker=BrokerSettings(),
        auth=AuthSettings.model_validate(
            {"auth": auth, "auth_token_file": auth_token_file, "auth_read_token_file": auth_read_token_file}
        ),
        offer=OfferSettings.model_validate(offer),
        tasks=from_registry(registry()),
    )
    parts = Parts(
        config=config,
        transport=transport,
        prepare=lambda: transport.declare(topology(QUEUES)).result(5),
        provide_tokens=lambda queue: transport.declare(token_topology(queue)).result(5),
    )
    client = create_app(parts).test_client()
    parts.start()
    try:
        eventually(lambda: parts.checks()["broker"])
        yield Kit(parts, transport, client)
    finally:
        parts.stop()
