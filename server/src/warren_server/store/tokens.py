"""Bearer tokens in the store, by hash only."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import RowMapping, func, insert, select, update

from warren.envelope import new_job_id
from warren_server.store.engine import Database
from warren_server.store.schema import tokens

PREFIX: Final = "wrn_"
"""Lets secret scanners find a token that leaked."""
SCOPES: Final = ("submit", "read", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as the store knows it; the secret itself is nowhere.

    Attributes:
        id: What to revoke it by.
        hash: SHA-256 of the secret, in hex.
        name: What it is for.
        scopes: What it may do; `admin` implies the others.
        created_ms: When it was made.
        expires_ms: When it ends, or None.
        revoked_ms: When it was revoked, or None.
        tenant: Whose jobs its bearer submits and sees, or None.
    """

    id: str
    hash: str
    name: str
    scopes: frozenset[str]
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None
    tenant: str | None = None

    def valid(self, now_ms: int) -> bool:
        """Whether it opens anything now."""
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)

    def allows(self, scope: str) -> bool:
        """Whether it opens what needs this scope."""
        return scope in self.scopes or "admin" in self.scopes


class TokenStore:
    """The tokens table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        scopes: Iterable[str],
        expires_in_seconds: float | None = None,
        tenant: str | None = None,
    ) -> tuple[Token, str]:
        """Make a token.

        Returns:
            The token, and its secret, which cannot be had again.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        now_ms = time.time_ns() // 1_000_000
        token = Token(
            id=new_job_id(),
            hash=digest(secret),
            name=name,
            scopes=frozenset(scopes),
            created_ms=now_ms,
            expires_ms=None if expires_in_seconds is None else now_ms + int(expires_in_seconds * 1000),
            tenant=tenant,
        )
        row = {
            "id": token.id,
            "hash": token.hash,
            "name": name,
            "scopes": " ".join(sorted(token.scopes)),
            "created_ms": now_ms,
            "expires_ms": token.expires_ms,
            "tenant": tenant,
        }
        with self._database.write() as connection:
            connection.execute(insert(tokens).values(row))
        return token, secret

    def find(self, hashed: str) -> Token | None:
        """Return the token of that hash, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(tokens).where(tokens.c.hash == hashed)).mappings().first()
            return None if row is None else _token(row)

    def all(self) -> list[Token]:
        """Return the tokens that are not revoked, oldest first."""
        with self._database.read() as connection:
            query = select(tokens).where(tokens.c.revoked_ms.is_(None)).order_by(tokens.c.id)
            return [_token(row) for row in connection.execute(query).mappings()]

    def any(self) -> bool:
        """Whether there ever was a token; one that ended or was revoked keeps the door shut."""
        with self._database.read() as connection:
            return bool(connection.execute(select(func.count()).select_from(tokens)).scalar())

    def revoke(self, token: str) -> bool:
        """Revoke a token by its id; False when there is none to revoke."""
        now_ms = time.time_ns() // 1_000_000
        statement = update(tokens).where(tokens.c.id == token, tokens.c.revoked_ms.is_(None)).values(revoked_ms=now_ms)
        with self._database.write() as connection:
            return bool(connection.execute(statement).rowcount)


def digest(secret: str) -> str:
    """Hash a secret. Plain SHA-256 is right for 256 random bits: there is nothing to guess."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _token(row: RowMapping) -> Token:
    fields = {key: row[key] for key in ("id", "hash", "name", "created_ms", "expires_ms", "revoked_ms", "tenant")}
    return Token(scopes=frozenset(row["scopes"].split()), **fields)
