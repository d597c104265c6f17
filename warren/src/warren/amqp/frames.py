"""Between `Message` and AMQP 0-9-1."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, Final, cast

from pika import compat, exceptions, frame, spec

from warren.envelope import HeaderValue, Message
from warren.errors import EnvelopeError
from warren.transport import Publication

PUBLISHING_CHANNEL: Final = 1
_PERSISTENT: Final = 2
_BODY_FRAME: Final = struct.Struct(">BHL")
_BODY: Final = 3
_FRAME_END: Final = b"\xce"


def publish_frames(publication: Publication, body_max_bytes: int) -> bytes:
    """Write a publish with its properties and body, ready for the socket.

    Done in the caller's thread and in one piece: the I/O thread then only joins and sends, with one system call for
    many messages, where pika's `basic_publish` needs three for each.

    Raises:
        EnvelopeError: A property or header cannot be written in AMQP.
    """
    message = publication.message
    body = message.body
    try:
        parts = [
            _publish_method(publication.exchange, publication.routing_key),
            frame.Header(PUBLISHING_CHANNEL, len(body), to_properties(message)).marshal(),
        ]
    except (exceptions.AMQPError, struct.error, TypeError, ValueError, AssertionError, AttributeError) as error:
        raise EnvelopeError(f"message {message.message_id} cannot be written in AMQP: {error!r}", message) from error
    if len(parts[1]) > body_max_bytes:
        raise EnvelopeError(
            f"message {message.message_id}: properties and headers take {len(parts[1])} bytes, the broker's frames "
            f"hold {body_max_bytes}; put large data into the body",
            message,
        )
    for start in range(0, len(body), body_max_bytes):
        chunk = body[start : start + body_max_bytes]
        parts += (_BODY_FRAME.pack(_BODY, PUBLISHING_CHANNEL, len(chunk)), chunk, _FRAME_END)
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _publish_method(exchange: str, routing_key: str) -> bytes:
    method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    return cast("bytes", frame.Method(PUBLISHING_CHANNEL, method).marshal())


def to_properties(message: Message) -> Any:
    """Turn a message's metadata into pika's properties; always persistent."""
    return spec.BasicProperties(
        content_type=message.content_type,
        headers=dict(message.headers) or None,
        delivery_mode=_PERSISTENT,
        priority=message.priority,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        user_id=message.user_id,
        app_id=message.app_id,
    )


def from_properties(properties: Any, body: bytes) -> Message:
    """Turn what pika received into a message."""
    return Message(
        body=body,
        message_id=properties.message_id,
        type=properties.type,
        content_type=properties.content_type,
        timestamp=properties.timestamp,
        app_id=properties.app_id,
        priority=properties.priority,
        user_id=properties.user_id,
        headers={name: _plain(value) for name, value in (properties.headers or {}).items()},
    )


def _plain(value: HeaderValue) -> HeaderValue:
    """Return pika's `long`, an integer that is not quite one (`x in range(n)` walks the range), as an integer."""
    return int(value) if isinstance(value, int) and type(value) is compat.long else value
