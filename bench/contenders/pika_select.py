"""pika's `SelectConnection`: many publishes under way, acks of many messages at a time. The most that pika gives."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from bench.contender import Arguments, Command, Contender, Publisher
from bench.place import Place, here
from bench.wire import QUEUE_ARGUMENTS, WINDOW, encode, run

QUEUE: Final = "bench"
PREFETCH: Final = 1000
ACK_EVERY: Final = 100
ACK_SECONDS: Final = 0.005


class PikaSelect(Contender):
    """What pika itself can do, with an event loop and no threads."""

    name = "pika-select"
    title = "pika select"
    environment = "warren"
    distributions = ("pika",)
    settings: ClassVar = {
        "publish": f"`confirm_delivery`, persistent, mandatory; up to {WINDOW} publishes wait for confirms",
        "worker": f"a process each, prefetch {PREFETCH}, an ack for {ACK_EVERY} tasks or after "
        f"{ACK_SECONDS * 1000:g} ms",
    }
    queue = QUEUE
    measures = frozenset({"publish", "worker", "latency"})
    tasks = frozenset({"noop"})
    pace = 10.0

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        """Connect."""
        link = _Link(place)
        link.channel.confirm_delivery(link.on_confirm)
        try:
            yield link
        finally:
            link.close()

    def workers(self, place: Place, processes: int) -> list[Command]:  # noqa: ARG002
        """Return a command for each process."""
        return [
            Command(name=f"{self.name}-{number}", arguments=("-m", "bench.contenders.pika_select"))
            for number in range(processes)
        ]


class _Link:
    """One connection with one channel; its loop runs while somebody waits for something."""

    def __init__(self, place: Place) -> None:
        import pika

        self._properties = pika.BasicProperties(delivery_mode=2, content_type="application/json")
        self.channel: Any = None
        self._sent = self._confirmed = 0
        self._early: set[int] = set()
        self._error: BaseException | None = None
        self._jobs: Iterator[bytes] = iter(())
        self._exhausted = True
        self.connection: Any = pika.SelectConnection(
            pika.URLParameters(place.amqp_url), on_open_callback=self._on_open, on_open_error_callback=self._fail
        )
        self.wait()

    def wait(self) -> None:
        """Run the loop until somebody stops it."""
        self.connection.ioloop.start()
        if self._error is not None:
            raise self._error

    def one(self, task: str, arguments: Arguments) -> None:
        self._publish(iter((encode(task, arguments),)))

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        self._publish(encode(task, arguments) for arguments in jobs)

    def on_confirm(self, frame: Any) -> None:
        """Count what is confirmed, and send more."""
        if frame.method.NAME != "Basic.Ack":
            self._fail(None, RuntimeError("the broker refused a publish"))
            return
        if frame.method.multiple:
            self._confirmed = max(self._confirmed, frame.method.delivery_tag)
        else:
            self._early.add(frame.method.delivery_tag)
        while self._confirmed + 1 in self._early:
            self._confirmed += 1
            self._early.discard(self._confirmed)
        self._fill()

    def close(self) -> None:
        """Disconnect."""
        self.connection.add_on_close_callback(lambda *_: self.connection.ioloop.stop())
        self.connection.close()
        self.wait()

    def _publish(self, jobs: Iterator[bytes]) -> None:
        self._jobs, self._exhausted = jobs, False
        self._fill()
        self.wait()

    def _fill(self) -> None:
        while not self._exhausted and self._sent - self._confirmed < WINDOW:
            body = next(self._jobs, None)
            if body is None:
                self._exhausted = True
                break
            self._sent += 1
            self.channel.basic_publish("", QUEUE, body, self._properties, mandatory=True)
        if self._exhausted and self._sent == self._confirmed:
            self.connection.ioloop.stop()

    def _fail(self, _connection: Any, error: BaseException) -> None:
        self._error = error
        self.connection.ioloop.stop()

    def _on_open(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self.channel = channel
        channel.queue_declare(
            QUEUE, durable=True, arguments=QUEUE_ARGUMENTS, callback=lambda _frame: self.connection.ioloop.stop()
        )


class _Consumer:
    """Runs jobs where they arrive, and acks many at a time."""

    def __init__(self, link: _Link) -> None:
        self._channel = link.channel
        self._later: Callable[..., Any] = link.connection.ioloop.call_later
        self._newest = 0
        self._acked = 0
        self._timer = False

    def start(self) -> None:
        """Begin to consume."""
        self._channel.basic_qos(prefetch_count=PREFETCH)
        self._channel.basic_consume(QUEUE, self._on_message)

    def _on_message(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        run(body)
        self._newest = method.delivery_tag
        if self._newest - self._acked >= ACK_EVERY:
            self._ack()
        elif not self._timer:
            self._timer = True
            self._later(ACK_SECONDS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = False
        if self._newest > self._acked:
            self._ack()

    def _ack(self) -> None:
        self._channel.basic_ack(self._newest, multiple=True)
        self._acked = self._newest


def main() -> None:
    """Work until told to stop."""
    link = _Link(here())
    signal.signal(signal.SIGTERM, lambda *_: link.connection.ioloop.stop())
    _Consumer(link).start()
    link.wait()
    link.close()


if __name__ == "__main__":
    main()
