"""The publisher's bookkeeping of confirms, on a channel of paper."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from pika import exceptions, frame, spec

from warren.amqp.publisher import Publisher
from warren.envelope import Message
from warren.errors import EnvelopeError, OutcomeUnknown, QueueFull, Unavailable, Unroutable
from warren.transport import Publication


class PaperLoop:
    """Runs calls when told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call(self, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class PaperBroker:
    """A connection and its channel in one, which keep what is sent."""

    is_open = True
    _body_max_length = 1000

    def __init__(self) -> None:
        self.connection = self
        self.sent = b""
        self.writes = 0
        self.on: dict[str, Any] = {}

    def add_on_connection_blocked_callback(self, callback: Any) -> None:
        self.on["blocked"] = callback

    def add_on_connection_unblocked_callback(self, callback: Any) -> None:
        self.on["unblocked"] = callback

    def channel(self, _number: int, on_open_callback: Any) -> None:
        on_open_callback(self)

    def add_on_close_callback(self, callback: Any) -> None:
        self.on["close"] = callback

    def add_on_return_callback(self, callback: Any) -> None:
        self.on["return"] = callback

    def confirm_delivery(self, on_confirm: Any, callback: Any) -> None:
        self.on["confirm"] = on_confirm
        callback(None)

    def _output_marshaled_frames(self, frames: list[bytes]) -> None:
        self.writes += 1
        self.sent += b"".join(frames)

    def ack(self, tag: int, multiple: bool = False) -> None:
        self.on["confirm"](frame.Method(1, spec.Basic.Ack(tag, multiple)))

    def nack(self, tag: int, multiple: bool = False) -> None:
        self.on["confirm"](frame.Method(1, spec.Basic.Nack(tag, multiple)))

    def give_back(self, message_id: str | None, exchange: str = "e", key: str = "k") -> None:
        method = spec.Basic.Return(312, "NO_ROUTE", exchange, key)
        self.on["return"](self, method, spec.BasicProperties(message_id=message_id), b"")


@pytest.fixture
def loop() -> PaperLoop:
    return PaperLoop()


@pytest.fixture
def broker() -> PaperBroker:
    return PaperBroker()


@pytest.fixture
def publisher(loop: PaperLoop, broker: PaperBroker) -> Publisher:
    publisher = Publisher(loop, window=10)  # type: ignore[arg-type]
    publisher.connected(broker)
    return publisher


def publish(publisher: Publisher, message_id: str | None, exchange: str = "e") -> Future[None]:
    message = Message(body=b"x", message_id=message_id)
    return publisher.publish(Publication(exchange=exchange, routing_key="k", message=message), 0.0)


def publish_written(publisher: Publisher, loop: PaperLoop, count: int) -> list[Future[None]]:
    futures = [publish(publisher, f"m{number}") for number in range(1, count + 1)]
    loop.run()
    return futures


def done(futures: list[Future[None]]) -> list[int]:
    return [number for number, future in enumerate(futures, 1) if future.done()]


def test_confirms_may_come_in_any_order(publisher: Publisher, loop: PaperLoop, broker: PaperBroker) -> None:
    futures = publish_written(publisher, loop, 6)

    broker.ack(5)
    assert done(futures) == [5]
    broker.ack(2)
    assert done(futures) == [2, 5]
    broker.ack(3, multiple=True)
    assert done(futures) == [1, 2, 3, 5]
    broker.ack(6, multiple=True)

    assert done(futures) == [1, 2, 3, 4, 5, 6]
    assert publisher.status.unconfirmed == 0


def test_a_confirm_of_something_unknown_is_ignored(publisher: Publisher, loop: PaperLoop, broker: PaperBroker) -> None:
    futures = publish_written(publisher, loop, 1)

    broker.ack(9)

    assert done(futures) == []
    assert publisher.status.unconfirmed == 1


def test_only_the_returned_one_of_a_batch_is_unroutable(
    publisher: Publisher, loop: PaperLoop, broker: PaperBroker
) -> None:
    futures = publish_written(publisher, loop, 3)

    broker.give_back("m2")
    broker.ack(3, multiple=True)

    assert isinstance(futures[1].exception(0), Unroutable)
    assert futures[0].result(0) is None
    assert futures[2].result(0) is None


def test_the_same_message_sent_again_is_not_taken_for_the_returned_one(
    publisher: Publisher, loop: PaperLoop, broker: PaperBroker
) -> None:
    elsewhere, here = publish(publisher, "same", "gone"), publish(publisher, "same", "e")
    loop.run()

    broker.give_back("same", exchange="gone")
    broker.ack(2, multiple=True)

    assert isinstance(elsewhere.exception(0), Unroutable)
    assert here.result(0) is None


def test_a_nack_of_many_refuses_them_all(publisher: Publisher, loop: PaperLoop, broker: PaperBroker) -> None:
    futures = publish_written(publisher, loop, 3)

    broker.nack(2, multiple=True)

    assert [type(future.exception(0)) for future in futures[:2]] == [QueueFull, QueueFull]
    assert not futures[2].done()


def test_what_was_written_is_unknown_and_what_was_not_is_unsent(
    publisher: Publisher, loop: PaperLoop, broker: PaperBroker
) -> None:
    (written,) = publish_written(publisher, loop, 1)
    waiting = publish(publisher, "later")

    publisher.disconnected()
    loop.run()

    assert isinstance(written.exception(0), OutcomeUnknown)
    assert isinstance(waiting.exception(0), Unavailable)
    assert publisher.status.unconfirmed == 0
    assert b"later" not in broker.sent


def test_a_channel_closed_for_a_missing_exchange_blames_that_message_alone(
    publisher: Publisher, loop: PaperLoop, broker: PaperBroker
) -> None:
    good, bad = publish(publisher, "good"), publish(publisher, "bad", "missing")
    loop.run()

    reason = exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no exchange 'missing' in vhost '/'")
    broker.on["close"](broker, reason)

    assert isinstance(good.exception(0), OutcomeUnknown)
    assert isinstance(bad.exception(0), Unroutable)
    assert not publisher.status.connected
    loop.run()
    assert publisher.status.connected


def test_many_publishes_share_one_write(publisher: Publisher, loop: PaperLoop, broker: PaperBroker) -> None:
    publish_written(publisher, loop, 10)

    assert broker.writes == 1
    assert all(b"m%d" % number in broker.sent for number in range(1, 11))


def test_a_message_amqp_cannot_carry_takes_no_room(publisher: Publisher) -> None:
    unfit = Publication(exchange="e", routing_key="k", message=Message(body=b"", headers={"pi": 3.14}))

    with pytest.raises(EnvelopeError):
        publisher.publish(unfit, 0.0)

    assert publisher.status.unconfirmed == 0
