"""A channel is given up only once the broker was told of every ack, on a channel of paper."""

from __future__ import annotations

from collections.abc import Callable

from warren.amqp.consumer import AmqpDelivery, Session
from warren.envelope import Message


class PaperLoop:
    """Runs calls when told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call(self, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


class PaperChannel:
    """Keeps what it is told; another thread may do something in the middle of a frame."""

    is_open = True

    def __init__(self) -> None:
        self.told: list[int] = []
        self.meanwhile: list[Callable[[], None]] = []

    def basic_ack(self, tag: int, multiple: bool) -> None:
        self._tell(tag)

    def basic_nack(self, tag: int, requeue: bool) -> None:
        self._tell(tag)

    def close(self) -> None:
        self.is_open = False

    def _tell(self, tag: int) -> None:
        assert self.is_open, "the channel was closed before the broker was told of everything"
        self.told.append(tag)
        if self.meanwhile:
            self.meanwhile.pop(0)()


class Bench:
    """A session whose channel is closed as soon as it is idle, as that of a worker that drains."""

    def __init__(self, deliveries: int) -> None:
        self.loop = PaperLoop()
        self.channel = PaperChannel()
        self.session = Session(self.loop, self.channel, 100, self.channel.close)  # type: ignore[arg-type]
        self.deliveries = [
            AmqpDelivery(self.session, tag, "jobs", False, Message(body=b"")) for tag in range(1, deliveries + 1)
        ]
        for tag, delivery in enumerate(self.deliveries, 1):
            self.session.delivered(tag, delivery)


def test_an_ack_given_while_another_is_told_is_told_before_the_channel_closes() -> None:
    bench = Bench(2)
    first, last = bench.deliveries
    bench.channel.meanwhile.append(last.ack)

    first.ack()
    bench.loop.run()

    assert bench.channel.told == [1, 2]
    assert not bench.channel.is_open


def test_an_ack_given_while_another_is_returned_is_told_before_the_channel_closes() -> None:
    bench = Bench(3)
    first, second, last = bench.deliveries
    bench.channel.meanwhile.append(second.ack)
    bench.channel.meanwhile.append(last.nack)

    first.nack()
    bench.loop.run()

    assert sorted(bench.channel.told) == [1, 2, 3]
    assert not bench.channel.is_open


def test_a_settled_delivery_is_settled_once() -> None:
    bench = Bench(1)
    (delivery,) = bench.deliveries

    delivery.ack()
    delivery.nack()
    bench.loop.run()

    assert bench.channel.told == [1]
    assert not delivery.alive
