"""pika's `BlockingConnection`, without anything around it: a confirm for each publish, an ack for each message."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from bench.contender import Arguments, Command, Contender, Publisher
from bench.place import Place, here
from bench.wire import QUEUE_ARGUMENTS, encode, run

QUEUE: Final = "bench"
PREFETCH: Final = 200


class PikaBlocking(Contender):
    """What most programs begin with."""

    name = "pika-blocking"
    title = "pika blocking"
    environment = "warren"
    distributions = ("pika",)
    settings: ClassVar = {
        "publish": "`confirm_delivery`, persistent, mandatory; each publish waits for its confirm",
        "worker": f"a process each, `basic_consume`, prefetch {PREFETCH}, an ack after each task",
    }
    queue = QUEUE
    measures = frozenset({"publish", "worker", "latency"})
    tasks = frozenset({"noop"})
    pace = 5.0

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        """Connect."""
        with _connected(place) as channel:
            channel.confirm_delivery()
            yield _Publisher(channel)

    def workers(self, place: Place, processes: int) -> list[Command]:  # noqa: ARG002
        """Return a command for each process."""
        return [
            Command(name=f"{self.name}-{number}", arguments=("-m", "bench.contenders.pika_blocking"))
            for number in range(processes)
        ]


class _Publisher:
    def __init__(self, channel: Any) -> None:
        from pika import BasicProperties

        self._channel = channel
        self._properties = BasicProperties(delivery_mode=2, content_type="application/json")

    def one(self, task: str, arguments: Arguments) -> None:
        self._channel.basic_publish("", QUEUE, encode(task, arguments), self._properties, mandatory=True)

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        for arguments in jobs:
            self.one(task, arguments)


@contextmanager
def _connected(place: Place) -> Iterator[Any]:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(place.amqp_url))
    try:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, arguments=QUEUE_ARGUMENTS)
        yield channel
    finally:
        connection.close()


def main() -> None:
    """Work until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with _connected(here()) as channel:
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(QUEUE, _on_message)
        channel.start_consuming()


def _on_message(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
    run(body)
    channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    main()
