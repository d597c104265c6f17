"""The session: the API token itself, in a cookie that scripts cannot read and other sites cannot make browsers send.

There is no key to share among servers and nothing to look up: a token that is revoked ends its sessions at once, and
one that was seen before opens while the store is away, both as with the API. The API itself takes no cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Response

COOKIE: Final = "warren_session"
SECURE_COOKIE: Final = "__Host-warren_session"
"""Browsers take a cookie of that prefix only over https, from this very host."""
LASTS_SECONDS: Final = 12 * 3600


def authorization(given: str | None, cookies: Mapping[str, str]) -> str | None:
    """Return what a request shows to be let in: its own header `Authorization`, else that of its session."""
    if given is not None:
        return given
    token = cookies.get(SECURE_COOKIE) or cookies.get(COOKIE)
    return None if token is None else bearer(token)


def bearer(token: str) -> str:
    """Return the header that shows a token."""
    return f"Bearer {token}"


def begin(response: Response, token: str, *, secure: bool) -> None:
    """Begin a session."""
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        token,
        max_age=LASTS_SECONDS,
        path="/",
        secure=secure,
        httponly=True,
        samesite="Strict",
    )


def end(response: Response) -> None:
    """End the session."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
    response.delete_cookie(SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
