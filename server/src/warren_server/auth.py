"""Who may do what: bearer tokens with scopes."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from warren.errors import SettingsError
from warren_server.api.problems import Refusal
from warren_server.errors import StoreDown
from warren_server.settings import AuthSettings, ServerSettings
from warren_server.store.tokens import PREFIX, SCOPES, Token, TokenStore, digest
from warren_server.token_files import TokenFiles

logger = logging.getLogger(__name__)

Scope = Literal["submit", "read", "admin"]

_FRESH_SECONDS: Final = 5.0
"""So long a revoked token may still open, in processes that saw it just before."""
_STALE_SECONDS: Final = 900.0
"""So long a token seen before opens while the store is away: an outage of the store stops no job."""
_CACHED: Final = 10_000
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="warren"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        tenant: Whose jobs they submit and see; None submits for the tenant without a name and sees all.
        scopes: What they may do; `admin` implies the others.
    """

    tenant: str | None = None
    scopes: frozenset[str] = frozenset(SCOPES)

    def may(self, scope: Scope) -> bool:
        """Whether they may do what needs this scope."""
        return scope in self.scopes or "admin" in self.scopes


ANYONE: Final = Caller()


@dataclass(frozen=True, slots=True)
class _Seen:
    token: Token | None
    at: float


class Gate:
    """Checks bearer tokens.

    Args:
        tokens: The tokens there are.
        mode: `tokens`: always needed; `none`: never; `auto`: needed once there is one.
        files: The tokens that files hold; they open while the store is away.
    """

    def __init__(
        self, tokens: TokenStore, mode: Literal["auto", "tokens", "none"], files: TokenFiles | None = None
    ) -> None:
        self._tokens = tokens
        self._files = files or TokenFiles({})
        self._mode = mode
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._any: tuple[float, bool] | None = None

    def check(self, authorization: str | None, scope: Scope) -> Caller:
        """Let a request through, or not.

        Args:
            authorization: Its Authorization header.
            scope: What it needs.

        Returns:
            Who asks.

        Raises:
            Refusal: `unauthenticated` or `forbidden`.
            StoreDown: The store is away and the token was not seen before.
        """
        if self._mode == "none" or (self._mode == "auto" and not self._needs_tokens()):
            return ANYONE
        token = self._find(_secret(authorization))
        if token is None or not token.valid(time.time_ns() // 1_000_000):
            raise _unauthenticated("the token is unknown, expired or revoked")
        if not token.allows(scope):
            logger.warning(
                "token %s lacks scope %s",
                token.id,
                scope,
                extra={"event": "forbidden", "token": token.id, "scope": scope},
            )
            raise Refusal("forbidden", f"this needs the scope {scope}; the token has {', '.join(sorted(token.scopes))}")
        return Caller(tenant=token.tenant, scopes=token.scopes)

    def _find(self, secret: str) -> Token | None:
        hashed = digest(secret)
        given = self._files.find(hashed)
        if given is not None:
            return given
        now = time.monotonic()
        with self._lock:
            seen = self._seen.get(hashed)
        if seen is not None and now - seen.at < _FRESH_SECONDS:
            return seen.token
        try:
            token = self._tokens.find(hashed)
        except StoreDown:
            if seen is not None and seen.token is not None and now - seen.at < _STALE_SECONDS:
                return seen.token
            raise
        if token is not None and not hmac.compare_digest(token.hash, hashed):
            token = None
        with self._lock:
            self._seen[hashed] = _Seen(token, now)
            self._seen.move_to_end(hashed)
            while len(self._seen) > _CACHED:
                self._seen.popitem(last=False)
        return token

    def _needs_tokens(self) -> bool:
        if self._files:
            return True
        now = time.monotonic()
        if self._any is not None and (self._any[1] or now - self._any[0] < _FRESH_SECONDS):
            return self._any[1]
        try:
            found = self._tokens.any()
        except StoreDown:
            if self._any is not None:
                return self._any[1]
            raise
        self._any = (now, found)
        return found


def refuse_open_door(server: ServerSettings, auth: AuthSettings, tokens: TokenStore) -> None:
    """Stop a server that anyone on the network could use without anybody having said so.

    Raises:
        SettingsError: It binds beyond loopback and there is no token, or a file that should hold one does not.
    """
    files = TokenFiles.named_by(auth)
    files.check()
    if server.loopback or auth.auth == "none" or files:
        return
    try:
        found = tokens.any()
    except StoreDown as error:
        logger.warning("cannot look for tokens: %s; all requests will need one", error, extra={"event": "store_down"})
        return
    if not found:
        raise SettingsError(
            f"WARREN_SERVER_BIND is {server.bind!r}, which others can reach, and there is no token; make one with "
            "python -m warren_server token create --scopes admin, name a file with one in "
            "WARREN_AUTH_TOKEN_FILE, bind to 127.0.0.1, or say WARREN_AUTH=none"
        )


def _secret(authorization: str | None) -> str:
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.startswith(PREFIX) or len(secret) > 200:
        raise _unauthenticated("send Authorization: Bearer wrn_…; a token in the query string is not accepted")
    return secret


def _unauthenticated(detail: str) -> Refusal:
    return Refusal("unauthenticated", detail, headers=_CHALLENGE)
