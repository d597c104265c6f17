"""Warren, as its users start it: all guarantees are on, and there is nothing to switch them off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from bench import work
from bench.contender import Arguments, Command, Contender, Publisher
from bench.place import Place
from warren import task
from warren.producer import Producer
from warren.request import JobRequest
from warren.settings import BrokerSettings
from warren.topology import DEFAULT_QUEUE, queue_name

MODULES: Final = "bench.contenders.warren,warren_examples.tasks"
"""Value of `WARREN_TASKS`."""

for _name, _function in work.TASKS.items():
    task(name=f"bench.{_name}")(_function)


class Warren(Contender):
    """Server and workers with the settings they have when nothing is set."""

    name = "warren"
    title = "Warren"
    environment = "warren"
    distributions = ("warren", "pika", "gunicorn", "SQLAlchemy")
    settings: ClassVar = {
        "worker": "`python -m warren_worker`, one process each, nothing set: 10 jobs at once in threads, 13 held",
        "server": "`python -m warren_server`, beside the workers always, one process where nothing else is said; it "
        "records every result in its store (SQLite, WAL, unless `WARREN_BENCH_STORE_URL` names another)",
        "publish": "`Producer.submit` and `Producer.submit_many`: persistent, mandatory, confirmed, window 2000",
        "ack": "after the task, and after the confirm of the event that carries its result",
    }
    queue = queue_name(DEFAULT_QUEUE)
    measures = Contender.measures | {"http", "backlog"}
    serves = True
    pace = 2.0
    worker_settings: ClassVar[dict[str, str]] = {}
    """What is set for the workers beside what has to be."""

    def prepare(self, place: Place) -> None:
        """Apply the topology, as `warren topology apply` does."""
        from warren.amqp import connect
        from warren.amqp.topology import prepare

        settings = _broker(place)
        transport = connect(settings)
        transport.start()
        try:
            if not transport.wait_ready(30):
                raise RuntimeError("no connection to the broker within 30 s")
            prepare(transport, settings, [DEFAULT_QUEUE, "media"])
        finally:
            transport.stop()

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        """Connect a `Producer`."""
        with Producer(_broker(place), timeout_seconds=60) as producer:
            yield _Publisher(producer)

    def services(self, place: Place, processes: int = 1) -> list[Command]:
        """Return the server."""
        variables = {
            "WARREN_SERVER_BIND": f"127.0.0.1:{place.http_port}",
            "WARREN_SERVER_PROCESSES": str(processes),
            "WARREN_STORE_URL": _store_url(place),
        }
        return [
            Command(
                name="warren-server",
                arguments=("-m", "warren_server"),
                environment=self._variables(place) | variables,
                ready_url=f"http://127.0.0.1:{place.http_port}/readyz",
            )
        ]

    def workers(self, place: Place, processes: int) -> list[Command]:
        """Return a command for each process, as each is a pod of its own."""
        variables = self._variables(place) | {"WARREN_WORKER_QUEUES": DEFAULT_QUEUE} | self.worker_settings
        return [
            Command(name=f"warren-worker-{number}", arguments=("-m", "warren_worker"), environment=variables)
            for number in range(processes)
        ]

    def recorded(self, place: Place) -> int | None:
        """Count the jobs that have a recorded end."""
        from sqlalchemy import create_engine, text

        # Ids are UUIDv7: those of this run sort after the moment it began, and the index has both columns.
        began = f"{place.began_ms:012x}"
        query = text("SELECT count(*) FROM jobs WHERE state = 'succeeded' AND id >= :first")
        engine = create_engine(_store_url(place).replace("postgresql://", "postgresql+psycopg://", 1))
        try:
            with engine.connect() as connection:
                return int(connection.execute(query, {"first": f"{began[:8]}-{began[8:]}"}).scalar() or 0)
        finally:
            engine.dispose()

    def _variables(self, place: Place) -> dict[str, str]:
        return {
            "WARREN_AMQP_URL": place.amqp_url,
            "WARREN_AMQP_MANAGEMENT_URL": place.management_url,
            "WARREN_TASKS": MODULES,
        }


class WarrenPrefetch(Warren):
    """The same workers with more jobs at hand, to see what that alone does."""

    name = "warren-prefetch"
    title = "Warren, 100 held"
    settings: ClassVar = {"worker": "as Warren, but `WARREN_WORKER_PREFETCH=100`"}
    measures = frozenset({"worker"})
    tasks = frozenset({"noop"})
    serves = False
    worker_settings: ClassVar[dict[str, str]] = {"WARREN_WORKER_PREFETCH": "100"}


class _Publisher:
    """The publishing side of a `Producer`."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def one(self, task: str, arguments: Arguments) -> None:
        self._producer.submit(f"bench.{task}", arguments)

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        name = f"bench.{task}"
        self._producer.submit_many(JobRequest(task=name, arguments=arguments) for arguments in jobs)


def _broker(place: Place) -> BrokerSettings:
    return BrokerSettings.model_validate({"url": place.amqp_url, "management_url": place.management_url})


def _store_url(place: Place) -> str:
    return place.store_url or f"sqlite:///{place.folder}/store.db"
