"""The RabbitMQ adapter of the transport port, on pika. Nothing outside this package imports pika."""

from __future__ import annotations

from warren.amqp.transport import AmqpTransport
from warren.settings import BrokerSettings

__all__ = ["AmqpTransport", "connect"]


def connect(settings: BrokerSettings) -> AmqpTransport:
    """Make a transport for a broker; it does no I/O before `start`."""
    return AmqpTransport(settings)
