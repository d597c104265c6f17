"""Forgetting jobs that ended long ago, so that the store does not grow for ever."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, exists, or_, select

from warren.events import State
from warren_server.store.engine import Database
from warren_server.store.schema import attempts, dead_letters, jobs

BATCH: Final = 500
"""Jobs to a transaction, and variables to a statement; SQLite of old takes 999."""


class RetentionStore:
    """Ended jobs with their attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def forget(self, before_ms: int) -> int:
        """Delete the jobs that ended first, at most `BATCH` of them, and return how many.

        A dead job stays for as long as its dead letter does: it can still be brought back.

        Args:
            before_ms: Only jobs that ended before this time.

        Raises:
            StoreDown: The database is away.
        """
        letter = dead_letters.c
        # One that was brought back a moment ago is still dead to the store until its first event comes.
        kept = exists().where(letter.job == jobs.c.id, or_(letter.gone_ms.is_(None), letter.gone_ms >= before_ms))
        ended = (
            select(jobs.c.id)
            .where(jobs.c.finished_ms < before_ms, or_(jobs.c.state != State.DEAD, ~kept))
            .order_by(jobs.c.finished_ms)
            .limit(BATCH)
        )
        with self._database.write() as connection:
            # In the order of their ids, as whoever writes several jobs takes them.
            ids = sorted(connection.scalars(ended))
            if ids:
                connection.execute(delete(attempts).where(attempts.c.job.in_(ids)))
                connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
        return len(ids)
