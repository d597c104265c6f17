"""Ways to the broker that a test can spoil, one for each who goes there."""

from __future__ import annotations

from urllib.parse import urlsplit

from faults.service import Service
from warren.settings import BrokerSettings


def lane_to(settings: BrokerSettings) -> Service:
    """Stand before a broker."""
    assert settings.url is not None
    url = urlsplit(settings.url.get_secret_value())
    return Service([(url.hostname or "127.0.0.1", url.port or 5672)])


def through(lane: Service, settings: BrokerSettings, *, heartbeat_seconds: int = 5) -> dict[str, str]:
    """Return what makes a server or worker take a lane."""
    assert settings.url is not None
    url = urlsplit(settings.url.get_secret_value())
    login = url.netloc.rpartition("@")[0]
    return {
        "WARREN_AMQP_URL": url._replace(netloc=f"{login}@127.0.0.1:{lane.port}").geturl(),
        "WARREN_AMQP_HEARTBEAT_SECONDS": str(heartbeat_seconds),
    }
