"""`python -m warren.sql`: send jobs from an outbox to the broker until told to stop.

The outbox is named by `--database-url` or `WARREN_OUTBOX_URL`, the broker by `WARREN_AMQP_URL` as everywhere. Any
number may run. Exit status: 0 after an orderly stop, 2 when a setting is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url

from warren.errors import SettingsError
from warren.lifecycle import Closing, StopSignal
from warren.logs import configure_logs
from warren.probes import Health, Probes
from warren.settings import LifeSettings, LogSettings, load
from warren.sql.settings import OutboxSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m warren.sql", description="Send jobs from an outbox to the broker.")
    parser.add_argument("--database-url", help="the database with the outbox; WARREN_OUTBOX_URL unless given")
    asked = parser.parse_args(arguments)
    try:
        configure_logs(load(LogSettings), process="relay")
        _run(load(OutboxSettings, url=asked.database_url), load(LifeSettings))
    except SettingsError as error:
        print(f"warren.sql: {error}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 2
    return 0


def open_engine(settings: OutboxSettings) -> Engine:
    """Make the engine of an outbox; it connects when it is used.

    Raises:
        SettingsError: No database is named.
    """
    if settings.url is None:
        raise SettingsError("WARREN_OUTBOX_URL is not set: name the database with the outbox, or give --database-url")
    url = make_url(settings.url.get_secret_value())
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url, pool_size=2, max_overflow=0, pool_pre_ping=True)
    if settings.password_file is not None:
        event.listen(engine, "do_connect", _PasswordFile(settings.password_file))
    return engine


class _PasswordFile:
    """Puts a password from a file into each new connection."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, _dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        try:
            parameters["password"] = self._path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"WARREN_OUTBOX_PASSWORD_FILE cannot be read: {error}") from error


def _run(settings: OutboxSettings, life: LifeSettings) -> None:
    from prometheus_client import REGISTRY

    from warren.producer import Producer
    from warren.sql.relay import Relay

    stop = StopSignal()
    stop.install()
    with Closing() as closing:
        engine = open_engine(settings)
        closing.add("database", engine.dispose)
        producer = Producer()
        relay = Relay(engine, producer, batch=settings.batch, poll_seconds=settings.poll_seconds)
        health = Health(
            dead=lambda: None if relay.running or stop.requested else "the relay has stopped",
            unready=lambda: relay.trouble,
        )
        probes = Probes(life.probe_bind, health, REGISTRY)
        producer.start()
        closing.add("producer", producer.stop)
        relay.start()
        closing.add("relay", relay.stop)
        probes.start()
        closing.add("probes", probes.stop)
        stop.wait()


if __name__ == "__main__":
    sys.exit(main())
