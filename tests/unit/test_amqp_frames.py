"""Messages in AMQP 0-9-1, byte for byte as pika would write them."""

from __future__ import annotations

from typing import Any

import pytest
from pika import frame, spec

from warren.amqp.frames import from_properties, publish_frames, to_properties
from warren.envelope import Message
from warren.errors import EnvelopeError
from warren.transport import Publication

MESSAGE = Message(
    body=b"0123456789",
    message_id="id",
    type="greet",
    content_type="application/json",
    timestamp=1_700_000_000,
    app_id="warren",
    priority=4,
    user_id="app",
    headers={"text": "é", "number": 2**40, "flag": True, "none": None, "list": [1, "a"], "table": {"x": 1}},
)


def publication(message: Message) -> Publication:
    return Publication(exchange="warren.jobs", routing_key="work", message=message)


def decoded(data: bytes) -> list[Any]:
    frames = []
    while data:
        consumed, value = frame.decode_frame(data)
        frames.append(value)
        data = data[consumed:]
    return frames


def test_a_publish_is_method_header_and_body_in_frames_of_the_negotiated_size() -> None:
    method, header, *bodies = decoded(publish_frames(publication(MESSAGE), 400_000))

    assert isinstance(method.method, spec.Basic.Publish)
    assert (method.method.exchange, method.method.routing_key, method.method.mandatory) == (
        "warren.jobs",
        "work",
        True,
    )
    assert header.body_size == 10
    assert header.properties.delivery_mode == 2
    assert [body.fragment for body in bodies] == [b"0123456789"]


def test_a_long_body_is_split() -> None:
    long = Message(body=bytes(2500))

    _, header, *bodies = decoded(publish_frames(publication(long), 1000))

    assert header.body_size == 2500
    assert [len(body.fragment) for body in bodies] == [1000, 1000, 500]


def test_an_empty_body_has_no_body_frame() -> None:
    assert len(decoded(publish_frames(publication(Message(body=b"")), 1000))) == 2


def test_a_message_survives_the_way_there_and_back() -> None:
    _, header, _ = decoded(publish_frames(publication(MESSAGE), 1000))

    assert from_properties(header.properties, MESSAGE.body) == MESSAGE


def test_a_message_without_headers_has_an_empty_table() -> None:
    assert from_properties(to_properties(Message(body=b"")), b"") == Message(body=b"")


@pytest.mark.parametrize(
    "broken",
    [
        Message(body=b"", headers={"pi": 3.14}),
        Message(body=b"", headers={"big": 2**70}),
        Message(body=b"", headers={"x" * 300: 1}),
        Message(body=b"", headers={"surrogate": "\ud800"}),
        Message(body=b"", message_id="m" * 256),
        Message(body=b"", message_id=5),  # type: ignore[arg-type]
        Message(body=b"", priority=900),
    ],
)
def test_what_amqp_cannot_carry_is_refused_before_anything_is_sent(broken: Message) -> None:
    with pytest.raises(EnvelopeError, match="cannot be written in AMQP"):
        publish_frames(publication(broken), 1000)


def test_headers_larger_than_a_frame_are_refused() -> None:
    with pytest.raises(EnvelopeError, match="hold 1000"):
        publish_frames(publication(Message(body=b"", headers={"state": "x" * 2000})), 1000)


def test_a_long_header_comes_back_as_a_plain_integer() -> None:
    # pika reads 64-bit integers as a class of its own, for which `x in range(n)` walks the whole range.
    received = spec.BasicProperties()
    received.decode(b"".join(spec.BasicProperties(headers={"warren-enqueued-ms": 2**40}).encode()))

    message = from_properties(received, b"")

    assert type(message.headers["warren-enqueued-ms"]) is int
    assert message.headers["warren-enqueued-ms"] == 2**40
