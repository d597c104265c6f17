"""Dead letters in the store: whatever reached `warren.dead`, and events nobody could read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from warren_server.store.engine import Database
from warren_server.store.fold import Row
from warren_server.store.schema import dead_letters


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters to list; None means any.

    Attributes:
        queue: Their queue.
        task: Their task.
        before: Only those that come after this one in the list, given by time and id.
    """

    queue: str | None = None
    task: str | None = None
    before: tuple[int, str] | None = None


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
        with self._database.write() as connection:
            insert: Any = sqlite.insert if self._database.sqlite else postgresql.insert
            statement = insert(dead_letters)
            new = statement.excluded
            newer = or_(
                new.attempt > dead_letters.c.attempt,
                (new.attempt == dead_letters.c.attempt) & (new.at_ms > dead_letters.c.at_ms),
            )
            columns = {column.name: new[column.name] for column in dead_letters.c if column.name != "id"}
            upsert = statement.on_conflict_do_update(index_elements=["id"], set_=columns, where=newer)
            connection.execute(upsert, [latest[key] for key in sorted(latest)])

    def get(self, letter: str) -> Row | None:
        """Return a dead letter, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(dead_letters).where(dead_letters.c.id == letter)).mappings().first()
            return None if row is None else dict(row)

    def list(self, wanted: DeadLetterFilter, limit: int) -> list[Row]:
        """Return dead letters, the latest first."""
        order = (dead_letters.c.at_ms.desc(), dead_letters.c.id.desc())
        query = select(dead_letters).order_by(*order).limit(limit)
        if wanted.queue is not None:
            query = query.where(dead_letters.c.queue == wanted.queue)
        if wanted.task is not None:
            query = query.where(dead_letters.c.task == wanted.task)
        if wanted.before is not None:
            query = query.where(tuple_(dead_letters.c.at_ms, dead_letters.c.id) < wanted.before)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def _order(row: Row) -> tuple[int, int]:
    return row["attempt"] or 0, row["at_ms"]
