"""Where a request that changes something was sent from: pages of other sites must not send any.

The session's cookie is `SameSite=Strict` already; this also guards a dashboard that is open on loopback, to which any
web page could post a form (https://web.dev/articles/fetch-metadata).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def own(headers: Mapping[str, str]) -> bool:
    """Whether a request was sent by a page of this server.

    Browsers say so in `Sec-Fetch-Site`, over https and to loopback; elsewhere, and older ones, only in `Origin`. A
    request with neither was sent by no browser, or by one that hides where from: that is none of our pages.

    Args:
        headers: Its headers.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return bool(headers.get("Host")) and _host(headers.get("Origin", "")) == headers["Host"]


def secure(headers: Mapping[str, str]) -> bool:
    """Whether the browser sees this server at https, whatever a proxy in between made of it."""
    return headers.get("Origin", "").startswith("https://")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
