"""Orders that must outlive the control stream's age: kept here, announced again before it forgets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from warren_server.store.engine import Database
from warren_server.store.schema import announcements


class AnnouncementStore:
    """The announcements table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, subject: str, body: bytes, now_ms: int, until_ms: int | None) -> None:
        """Keep an order; an earlier one on the same subject makes room for it.

        Args:
            subject: What it is about.
            body: The order as it is sent.
            now_ms: When it was announced.
            until_ms: When nobody can need it any more, or None.
        """
        insert: Any = sqlite.insert if self._database.sqlite else postgresql.insert
        values = {"body": body, "announced_ms": now_ms, "until_ms": until_ms}
        statement = insert(announcements).values(subject=subject, **values)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["subject"], set_=values))

    def remove(self, subject: str) -> None:
        """Forget an order; harmless when there is none."""
        with self._database.write() as connection:
            connection.execute(delete(announcements).where(announcements.c.subject == subject))

    def expire(self, now_ms: int) -> None:
        """Forget what nobody can need any more."""
        with self._database.write() as connection:
            connection.execute(delete(announcements).where(announcements.c.until_ms < now_ms))

    def renew(self, announced_before_ms: int, now_ms: int, announce: Callable[[bytes], None]) -> bool:
        """Announce the oldest order again, if it is due.

        The row is locked meanwhile, so that an order withdrawn at the same time is not announced after it.

        Args:
            announced_before_ms: Orders announced since then are not due.
            now_ms: The time.
            announce: Sends the order and waits until the broker has it.

        Returns:
            Whether there was one.
        """
        oldest = (
            select(announcements)
            .where(announcements.c.announced_ms < announced_before_ms)
            .order_by(announcements.c.announced_ms)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with self._database.write() as connection:
            row = connection.execute(oldest).mappings().first()
            if row is None:
                return False
            announce(row["body"])
            renewed = update(announcements).where(announcements.c.subject == row["subject"])
            connection.execute(renewed.values(announced_ms=now_ms))
            return True
