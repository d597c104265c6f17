"""How many jobs ended, and how many died, minute by minute. Both are counted in an index, without a look at jobs."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ColumnElement, func, literal_column, select

from warren_server.store.engine import Database
from warren_server.store.schema import dead_letters, jobs

MINUTE_MS: Final = 60_000


class RateStore:
    """Counts jobs by the minute of their end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ended(self, first_minute: int, last_minute: int) -> dict[int, int]:
        """Return how many jobs ended, however they did, in each minute of a span in which any did.

        Args:
            first_minute: Begin of the span, in minutes since the epoch.
            last_minute: Its end, which is part of it.
        """
        return self._count(jobs.c.finished_ms, first_minute, last_minute)

    def died(self, first_minute: int, last_minute: int) -> dict[int, int]:
        """Return how many of the dead letters there are died in each minute of a span."""
        return self._count(dead_letters.c.at_ms, first_minute, last_minute, dead_letters.c.gone_ms.is_(None))

    def _count(
        self, column: Column[int], first_minute: int, last_minute: int, *rules: ColumnElement[bool]
    ) -> dict[int, int]:
        # Written out, not bound: to PostgreSQL two parameters are two expressions, of which one would not be grouped.
        minute = column // literal_column(str(MINUTE_MS), BigInteger)
        since, until = column >= first_minute * MINUTE_MS, column < (last_minute + 1) * MINUTE_MS
        query = select(minute, func.count()).where(since, until, *rules)
        with self._database.read() as connection:
            return {int(found): number for found, number in connection.execute(query.group_by(minute))}
