"""Where the server is and how httpx's failures read, for both clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from warren.client import wire
from warren.errors import RequestFailed
from warren.settings import ClientSettings, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server to talk to.

    Attributes:
        url: Its base URL.
        headers: Headers of every request.
        trust_env: Whether the proxies of the environment apply; never to this machine's own loopback.
    """

    url: str
    headers: dict[str, str] = field(repr=False)
    trust_env: bool


def target(url: str | None, token: str | None) -> Target:
    """Find the server from what was given and from the environment.

    Raises:
        SettingsError: The URL is not one.
    """
    settings = load(ClientSettings, url=url, token=token)
    headers = {"accept": "application/json", "user-agent": wire.USER_AGENT}
    if settings.token is not None:
        headers["authorization"] = f"Bearer {settings.token.get_secret_value()}"
    return Target(url=settings.url, headers=headers, trust_env=not _is_loopback(settings.url))


def failure(url: str, error: httpx.RequestError) -> RequestFailed:
    """Translate a failure to get an answer."""
    never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return wire.no_answer(url, error, connected=not never_sent)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
