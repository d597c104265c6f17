"""Dramatiq, with confirms on; it acks after the actor ran. It has no quorum queues, so its queue arguments are amended.

https://dramatiq.io/reference.html#dramatiq.brokers.rabbitmq.RabbitmqBroker
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from bench import work
from bench.contender import Arguments, Command, Contender, Publisher
from bench.place import Place, here

QUEUE: Final = "bench"
THREADS: Final = 4


class Dramatiq(Contender):
    """Dramatiq with threads in each process."""

    name = "dramatiq"
    title = "Dramatiq"
    distributions = ("dramatiq", "pika")
    settings: ClassVar = {
        "broker": "`RabbitmqBroker(confirm_delivery=True)`; `x-queue-type: quorum` by a subclass: there is no option",
        "worker": f"`dramatiq -p N -t {THREADS}`; prefetch twice the threads, its default",
        "publish": "`actor.send`, each waits for its confirm; there is no bulk, so it is the same",
        "ack": "after the actor, its only way",
        "results": "none recorded",
    }
    queue = QUEUE
    pace = 2.0

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        """Make a broker; it connects with the first message."""
        broker = make_broker(place)
        try:
            broker.declare_queue(QUEUE, ensure=True)
            yield _Publisher(broker)
        finally:
            broker.close()

    def workers(self, place: Place, processes: int) -> list[Command]:  # noqa: ARG002
        """Return the one command that starts all processes."""
        options = ("--processes", str(processes), "--threads", str(THREADS))
        return [Command(name="dramatiq", arguments=("-m", "dramatiq", "bench.contenders.dramatiq:broker", *options))]


class _Publisher:
    def __init__(self, broker: Any) -> None:
        self._actors = {name: broker.get_actor(f"bench.{name}") for name in work.TASKS}

    def one(self, task: str, arguments: Arguments) -> None:
        self._actors[task].send(**arguments)

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        for arguments in jobs:
            self.one(task, arguments)


def make_broker(place: Place) -> Any:
    """Make the broker with its actors."""
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    class QuorumBroker(RabbitmqBroker):  # type: ignore[misc]
        """Declares quorum queues."""

        def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
            return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}

    broker = QuorumBroker(url=place.amqp_url, confirm_delivery=True)
    for name, function in work.TASKS.items():
        dramatiq.actor(function, actor_name=f"bench.{name}", queue_name=QUEUE, broker=broker)
    for name, function in work.EXAMPLES.items():
        dramatiq.actor(function, actor_name=name, queue_name=QUEUE, broker=broker)
    return broker


def __getattr__(name: str) -> Any:
    """Make the broker when the worker asks for it, and not for whoever only looks at the class."""
    if name != "broker":
        raise AttributeError(name)
    globals()["broker"] = made = make_broker(here())
    return made
