"""Celery, set up as its documentation says for quorum queues and for jobs that must not be lost.

https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html#using-quorum-queues and
https://docs.celeryq.dev/en/stable/userguide/optimizing.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from bench import work
from bench.contender import Arguments, Command, Contender, Publisher
from bench.place import Place, here

QUEUE: Final = "bench"
_SETTINGS: Final = {
    "task_default_queue": QUEUE,
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "broker_transport_options": {"confirm_publish": True},
    "broker_connection_retry_on_startup": True,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_ignore_result": True,
    "worker_prefetch_multiplier": 64,
}


class Celery(Contender):
    """Celery with its prefork pool."""

    name = "celery"
    title = "Celery"
    distributions = ("celery", "kombu", "amqp")
    settings: ClassVar = {
        "app": ", ".join(f"`{name}={value!r}`" for name, value in _SETTINGS.items()),
        "worker": "`celery worker -c N --loglevel WARNING`, prefork; a prefetch multiplier of 64, as the guide to "
        "optimizing says for many short tasks",
        "publish": "`apply_async` with one producer, each waits for its confirm; there is no bulk, so it is the same",
        "results": "none recorded",
    }
    queue = QUEUE

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        """Take a producer out of the application's pool."""
        app = make_app(place)
        with app.producer_pool.acquire(block=True) as producer:
            app.amqp.queues[QUEUE].bind(producer.channel).declare()
            yield _Publisher(app, producer)

    def workers(self, place: Place, processes: int) -> list[Command]:  # noqa: ARG002
        """Return the one command that starts a pool."""
        options = ("worker", "--concurrency", str(processes), "--loglevel", "WARNING")
        return [Command(name="celery", arguments=("-m", "celery", "-A", "bench.contenders.celery:app", *options))]

    def consumers(self, processes: int) -> int:  # noqa: ARG002
        """The main process consumes for its pool."""
        return 1


class _Publisher:
    def __init__(self, app: Any, producer: Any) -> None:
        self._app = app
        self._producer = producer

    def one(self, task: str, arguments: Arguments) -> None:
        self._app.tasks[f"bench.{task}"].apply_async(kwargs=dict(arguments), producer=self._producer)

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        for arguments in jobs:
            self.one(task, arguments)


def make_app(place: Place) -> Any:
    """Make the application with its tasks."""
    import celery

    app = celery.Celery("bench", broker=place.amqp_url)
    app.conf.update(_SETTINGS)
    for name, function in work.TASKS.items():
        app.task(name=f"bench.{name}")(function)
    for name, function in work.EXAMPLES.items():
        app.task(name=name)(function)
    app.finalize()
    return app


def __getattr__(name: str) -> Any:
    """Make the application when the worker asks for it, and not for whoever only looks at the class."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = made = make_app(here())
    return made
