"""Idempotency keys in the store: who has one to itself, and what it answered.

A key is taken by inserting its row, so any number of servers agree on who came first. Every step is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from warren_server.errors import StoreDown
from warren_server.store.engine import Database
from warren_server.store.fold import Row
from warren_server.store.schema import idempotency_keys as keys
from warren_server.store.schema import jobs

_CHUNK: Final = 300
"""Ids to a statement; SQLite of old takes 999 variables."""
_TRIES: Final = 5

# Statements of every submit are made once: SQLAlchemy takes longer to make them than the database to run them.
_INSERT: Final[Mapping[str, Any]] = {
    # SQLAlchemy forgets how many rows an INSERT made unless it is told.
    name: insert(keys).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    for name, insert in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_KNOWN: Final = select(jobs.c.id, jobs.c.state, jobs.c.task, jobs.c.queue, jobs.c.submitted_ms).where(
    jobs.c.id.in_(bindparam("ids", expanding=True))
)
_ANSWER: Final = (
    update(keys)
    .where(
        keys.c.tenant == bindparam("of_tenant"),
        keys.c.endpoint == bindparam("of_endpoint"),
        keys.c.key == bindparam("of_key"),
        keys.c.generation == bindparam("of_generation"),
        keys.c.status.is_(None),
    )
    .values(status=bindparam("status"), body=bindparam("body"), locked_ms=0)
)

IdsOf: TypeAlias = Callable[[int], Sequence[str]]
"""The ids of a request's jobs, by the generation of its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyName:
    """What a key is unique within.

    Attributes:
        tenant: Whose it is, empty for the tenant without a name.
        endpoint: What it was sent to.
        key: The key.
    """

    tenant: str
    endpoint: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One request that comes with a key.

    Attributes:
        name: The key.
        fingerprint: SHA-256 of the request, in hex.
        now_ms: The time.
        locked_ms: Until when it wants the key to itself.
        expires_ms: When the key may be forgotten, if it is new.
    """

    name: KeyName
    fingerprint: str
    now_ms: int
    locked_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A key that a request has to itself until its lock ends.

    Attributes:
        use: The request.
        generation: Which use of the key this is, see `schema`.
        created_ms: When the first request of this use came: the time of its jobs.
        fresh: Nothing was published under it before.
        ids: The ids of its jobs, in order.
        known: Rows of those of its jobs that are in the store already, by id.
    """

    use: Use
    generation: int
    created_ms: int
    fresh: bool
    ids: Sequence[str]
    known: Mapping[str, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The request was answered before.

    Attributes:
        status: Its HTTP status.
        body: Its document, JSON.
    """

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Another request has the key to itself."""


@dataclass(frozen=True, slots=True)
class Reused:
    """The key came with another request before."""


@dataclass(frozen=True, slots=True)
class Renew:
    """The key has expired and is new again."""


@dataclass(frozen=True, slots=True)
class TakeOver:
    """The request before did not get as far as an answer; this one goes on in its place."""


def verdict(row: Row, use: Use) -> Answered | Busy | Reused | Renew | TakeOver:
    """Decide what a request may do with a key that is there.

    Args:
        row: The key's row.
        use: The request.
    """
    locked = row["status"] is None and row["locked_ms"] > use.now_ms
    if row["expires_ms"] <= use.now_ms and not locked:
        return Renew()
    if row["fingerprint"] != use.fingerprint:
        return Reused()
    if row["status"] is not None:
        return Answered(status=row["status"], body=row["body"])
    return Busy() if locked else TakeOver()


class KeyStore:
    """The idempotency_keys table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, use: Use, ids_of: IdsOf) -> Claim | Answered | Busy | Reused:
        """Take a key, or say why not.

        Args:
            use: The request.
            ids_of: Names its jobs.

        Raises:
            StoreDown: The database is away.
        """
        for _ in range(_TRIES):
            with self._database.write() as connection:
                found = _claim(connection, use, ids_of)
            if found is not None:
                return found
        raise StoreDown("the key is taken and let go faster than it can be read; try again")

    def answer(self, claim: Claim, status: int, body: str) -> None:
        """Keep the answer for those who ask again, whoever has the key by now: both mean the same jobs."""
        name = claim.use.name
        values = {"of_tenant": name.tenant, "of_endpoint": name.endpoint, "of_key": name.key}
        with self._database.write() as connection:
            connection.execute(_ANSWER, {**values, "of_generation": claim.generation, "status": status, "body": body})

    def release(self, claim: Claim) -> None:
        """Let go of a key whose request did nothing; nothing remembers it then."""
        with self._database.write() as connection:
            connection.execute(delete(keys).where(_mine(claim)))

    def unlock(self, claim: Claim) -> None:
        """Let the next request go on where this one stopped, without waiting for the lock to end."""
        with self._database.write() as connection:
            connection.execute(update(keys).where(_mine(claim)).values(locked_ms=0))

    def expire(self, now_ms: int, limit: int) -> int:
        """Forget keys that have expired, a bounded number of them.

        Returns:
            How many were forgotten.
        """
        name = (keys.c.tenant, keys.c.endpoint, keys.c.key)
        over = and_(keys.c.expires_ms <= now_ms, keys.c.locked_ms <= now_ms)
        old = select(*name).where(over).order_by(keys.c.expires_ms).limit(limit).with_for_update(skip_locked=True)
        with self._database.write() as connection:
            return connection.execute(delete(keys).where(tuple_(*name).in_(old))).rowcount


def _claim(connection: Connection, use: Use, ids_of: IdsOf) -> Claim | Answered | Busy | Reused | None:
    """Take a key in a transaction; None when it was let go of meanwhile, and may be had now."""
    new = {"generation": 0, "created_ms": use.now_ms, "fingerprint": use.fingerprint, **_times(use)}
    name = {"tenant": use.name.tenant, "endpoint": use.name.endpoint, "key": use.name.key}
    if connection.execute(_INSERT[connection.dialect.name], {**name, **new}).rowcount > 0:
        return _begin(connection, use, ids_of)
    # SQLite has no FOR UPDATE and SQLAlchemy leaves it out there: its writers exclude each other anyway.
    row = connection.execute(select(keys).where(_row(use.name)).with_for_update()).mappings().first()
    if row is None:
        return None
    match verdict(dict(row), use):
        case Renew():
            return _renew(connection, use, ids_of, row["generation"])
        case TakeOver():
            connection.execute(update(keys).where(_row(use.name)).values(locked_ms=use.locked_ms))
            ids = ids_of(row["generation"])
            return Claim(
                use=use,
                generation=row["generation"],
                created_ms=row["created_ms"],
                fresh=False,
                ids=ids,
                known=_known(connection, ids),
            )
        case verdict_:
            return verdict_


def _begin(connection: Connection, use: Use, ids_of: IdsOf) -> Claim:
    """Begin to use a key that has no row: the first time ever, or its row was cleaned up or lost."""
    ids = ids_of(0)
    known = _known(connection, ids)
    if known and max(row["submitted_ms"] for row in known.values()) <= use.now_ms - (use.expires_ms - use.now_ms):
        return _renew(connection, use, ids_of, 0)
    # Jobs younger than a key lives are this key's own, whose row the database lost: they are not made again.
    return Claim(use=use, generation=0, created_ms=use.now_ms, fresh=not known, ids=ids, known=known)


def _renew(connection: Connection, use: Use, ids_of: IdsOf, before: int) -> Claim:
    generation = max(use.now_ms, before + 1)
    new = {"generation": generation, "created_ms": use.now_ms, "fingerprint": use.fingerprint, **_times(use)}
    connection.execute(update(keys).where(_row(use.name)).values(**new, status=None, body=None))
    return Claim(use=use, generation=generation, created_ms=use.now_ms, fresh=True, ids=ids_of(generation), known={})


def _times(use: Use) -> dict[str, int]:
    return {"locked_ms": use.locked_ms, "expires_ms": use.expires_ms}


def _known(connection: Connection, ids: Sequence[str]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for start in range(0, len(ids), _CHUNK):
        rows = connection.execute(_KNOWN, {"ids": ids[start : start + _CHUNK]}).mappings()
        found.update((row["id"], dict(row)) for row in rows)
    return found


def _row(name: KeyName) -> ColumnElement[bool]:
    return and_(keys.c.tenant == name.tenant, keys.c.endpoint == name.endpoint, keys.c.key == name.key)


def _mine(claim: Claim) -> ColumnElement[bool]:
    """The key's row, unless the lock ended and another request has taken it over or answered."""
    return and_(
        _row(claim.use.name),
        keys.c.generation == claim.generation,
        keys.c.locked_ms == claim.use.locked_ms,
        keys.c.status.is_(None),
    )
