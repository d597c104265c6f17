"""Where a request that changes something was sent from: pages of other sites must not send any.

The session's cookie is `SameSite=Strict` already; this also guards a dashboard that is open on loopback, to which any
web page could post a form (https://web.dev/articles/fetch-metadata).
"""

from __future__ import annotations

from urllib.parse import urlsplit


def own(site: str | None, origin: str | None, host: str | None) -> bool:
    """Whether a request was sent by a page of this server.

    Browsers say so in `Sec-Fetch-Site`, over https and to loopback; elsewhere, and older ones, only in `Origin`. A
    request with neither was sent by no browser, or by one that hides where from: that is none of our pages.

    Args:
        site: Its header `Sec-Fetch-Site`.
        origin: Its header `Origin`.
        host: Its header `Host`.
    """
    if site is not None:
        return site == "same-origin"
    return bool(host) and origin is not None and _host(origin) == host


def secure(origin: str | None) -> bool:
    """Whether the browser that sent a form sees this server at https, whatever a proxy in between made of it."""
    return origin is not None and origin.startswith("https://")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
