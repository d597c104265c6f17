"""Dead letters in the store: whatever reached `warren.dead`, and events nobody could read.

A letter that was redriven or purged stays as a tombstone without content: a copy of its message that is handed out
again changes nothing, a newer death takes its place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from warren_server.store import claims
from warren_server.store.claims import Claim, Results
from warren_server.store.engine import Database
from warren_server.store.fold import Row
from warren_server.store.schema import dead_letters

_PURGED: Final = "purged"
_EQUAL: Final = {
    "queue": "queue",
    "task": "task",
    "error": "error_type",
    "outcome": "outcome",
    "worker": "worker",
    "job": "job",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant; None means any.

    Attributes:
        queue: Their queue.
        task: Their task.
        error: Class of their error.
        outcome: How their last attempt ended.
        reason: Text that their reason contains, in whatever case.
        worker: The worker that gave them up.
        job: Their job.
        since_ms: They died then or later.
        until_ms: They died before.
    """

    queue: str | None = None
    task: str | None = None
    error: str | None = None
    outcome: str | None = None
    reason: str | None = None
    worker: str | None = None
    job: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def empty(self) -> bool:
        """Whether all dead letters are meant."""
        return self == DeadLetterFilter()

    def given(self) -> dict[str, Any]:
        """Return what it says, without what it leaves open."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def conditions(self, stored_until_ms: int | None = None) -> list[ColumnElement[bool]]:
        """Return it as SQL; tombstones are never meant.

        Args:
            stored_until_ms: Leave alone what the store got later.
        """
        columns = dead_letters.c
        wanted: list[ColumnElement[bool]] = [columns.gone_ms.is_(None)]
        wanted += [
            columns[column] == getattr(self, name) for name, column in _EQUAL.items() if getattr(self, name) is not None
        ]
        if self.reason is not None:
            wanted.append(columns.reason.icontains(self.reason, autoescape=True))
        if self.since_ms is not None:
            wanted.append(columns.at_ms >= self.since_ms)
        if self.until_ms is not None:
            wanted.append(columns.at_ms < self.until_ms)
        if stored_until_ms is not None:
            wanted.append(columns.stored_ms <= stored_until_ms)
        return wanted


class DeadLetterStore:
    """The dead_letters table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[Row]) -> None:
        """Keep dead letters, in one transaction; of those with one id the latest attempt, then time, stays."""
        latest: dict[str, Row] = {}
        for row in rows:
            known = latest.get(row["id"])
            if known is None or _order(row) > _order(known):
                latest[row["id"]] = row
        stored_ms = time.time_ns() // 1_000_000
        with self._database.write() as connection:
            insert: Any = sqlite.insert if self._database.sqlite else postgresql.insert
            statement = insert(dead_letters)
            new = statement.excluded
            newer = or_(
                new.attempt > dead_letters.c.attempt,
                (new.attempt == dead_letters.c.attempt) & (new.at_ms > dead_letters.c.at_ms),
            )
            # What was known of the letter before, its being gone included, goes with it.
            columns = {column.name: new[column.name] for column in dead_letters.c if column.name != "id"}
            upsert = statement.on_conflict_do_update(index_elements=["id"], set_=columns, where=newer)
            connection.execute(upsert, [{**latest[key], "stored_ms": stored_ms} for key in sorted(latest)])

    def get(self, letter: str) -> Row | None:
        """Return a dead letter, or None; tombstones are none."""
        query = select(dead_letters).where(dead_letters.c.id == letter, dead_letters.c.gone_ms.is_(None))
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else dict(row)

    def list(self, wanted: DeadLetterFilter, limit: int, before: tuple[int, str] | None = None) -> list[Row]:
        """Return dead letters, the latest first.

        Args:
            wanted: Which ones.
            limit: Most to return.
            before: Only those that come after this one in the list, given by time and id.
        """
        order = (dead_letters.c.at_ms.desc(), dead_letters.c.id.desc())
        query = select(dead_letters).where(*wanted.conditions()).order_by(*order).limit(limit)
        if before is not None:
            query = query.where(tuple_(dead_letters.c.at_ms, dead_letters.c.id) < before)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def count(self, wanted: DeadLetterFilter, stored_until_ms: int | None = None) -> int:
        """Return how many are meant."""
        query = select(func.count()).select_from(dead_letters).where(*wanted.conditions(stored_until_ms))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def groups(self, wanted: DeadLetterFilter, limit: int) -> Sequence[Row]:
        """Count by queue, task and class of error, the largest group first."""
        columns = dead_letters.c
        keys = (columns.queue, columns.task, columns.error_type)
        told = (func.min(columns.at_ms).label("first_ms"), func.max(columns.at_ms).label("last_ms"))
        query = select(*keys, func.count().label("letters"), *told).where(*wanted.conditions()).group_by(*keys)
        query = query.order_by(func.count().desc(), func.max(columns.at_ms).desc(), *keys).limit(limit)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def claim(self, letter: str, claim: Claim, now_ms: int) -> Row | None:
        """Take one letter at hand; None when it is gone or at another's."""
        conditions = [dead_letters.c.id == letter, dead_letters.c.gone_ms.is_(None)]
        with self._database.write() as connection:
            found = claims.take(connection, conditions, claim, now_ms, 1)
            return found[0] if found else None

    def close(self, claim: Claim, results: Results, now_ms: int) -> None:
        """Say what came of letters at hand."""
        with self._database.write() as connection:
            claims.close(connection, claim, results, now_ms)

    def purge(self, wanted: DeadLetterFilter, stored_until_ms: int, now_ms: int, limit: int) -> int:
        """Purge letters that nobody has at hand, at most `limit` of them, in one transaction; return how many."""
        columns = dead_letters.c
        loose = or_(columns.claim_ms.is_(None), columns.claim_ms < now_ms)
        chosen = select(columns.id).where(*wanted.conditions(stored_until_ms), loose)
        chosen = chosen.order_by(columns.id).limit(limit).with_for_update(skip_locked=True)
        return self._bury(chosen, now_ms)

    def purge_one(self, letter: str, now_ms: int) -> bool:
        """Purge one letter; False when it is gone or at somebody's hand."""
        columns = dead_letters.c
        loose = or_(columns.claim_ms.is_(None), columns.claim_ms < now_ms)
        chosen = select(columns.id).where(columns.id == letter, columns.gone_ms.is_(None), loose)
        return self._bury(chosen.with_for_update(skip_locked=True), now_ms) == 1

    def forget(self, gone_before_ms: int, limit: int) -> int:
        """Delete tombstones so old that no copy of their messages can be handed out; return how many."""
        old = select(dead_letters.c.id).where(dead_letters.c.gone_ms < gone_before_ms).limit(limit)
        with self._database.write() as connection:
            return connection.execute(delete(dead_letters).where(dead_letters.c.id.in_(old))).rowcount

    def _bury(self, chosen: Any, now_ms: int) -> int:
        with self._database.write() as connection:
            ids = list(connection.execute(chosen).scalars())
            for start in range(0, len(ids), claims.CHUNK):
                buried = update(dead_letters).where(dead_letters.c.id.in_(ids[start : start + claims.CHUNK]))
                connection.execute(buried.values(**claims.tombstone(_PURGED, now_ms)))
            return len(ids)


def _order(row: Row) -> tuple[int, int]:
    return row["attempt"] or 0, row["at_ms"]
