"""Workers as the store knows them: by the attempts that their events told of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, func, select

from warren.events import State
from warren_server.store.claims import CHUNK
from warren_server.store.engine import Database
from warren_server.store.fold import Row
from warren_server.store.schema import announcements, attempts, jobs


class WorkerStore:
    """Reads which worker runs what, and which were seen lately. Every look is bounded, however many jobs there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def running(self, limit: int) -> Sequence[Row]:
        """Return jobs that run with their worker and the start of their attempt, the longest running first."""
        query = (
            select(attempts.c.worker, jobs.c.id, jobs.c.task, jobs.c.queue, attempts.c.started_ms, attempts.c.attempt)
            .join(attempts, and_(attempts.c.job == jobs.c.id, attempts.c.attempt == jobs.c.attempt))
            .where(jobs.c.state == State.RUNNING.value)
            .order_by(jobs.c.id)
            .limit(limit)
        )
        return self._rows(query)

    def seen(self, jobs_looked_at: int) -> Sequence[Row]:
        """Return the workers that ran any of the jobs submitted last, with when they were last heard of."""
        latest = select(jobs.c.id).order_by(jobs.c.id.desc()).limit(jobs_looked_at).subquery()
        query = (
            select(attempts.c.worker, func.max(attempts.c.at_ms).label("at_ms"), func.count().label("attempts"))
            .join(latest, attempts.c.job == latest.c.id)
            .where(attempts.c.worker.is_not(None), attempts.c.worker != "")
            .group_by(attempts.c.worker)
            .order_by(func.max(attempts.c.at_ms).desc())
        )
        return self._rows(query)

    def told(self, subjects: Sequence[str]) -> list[bytes]:
        """Return the orders that are kept on these subjects."""
        found: list[bytes] = []
        with self._database.read() as connection:
            for start in range(0, len(subjects), CHUNK):
                chunk = subjects[start : start + CHUNK]
                found += connection.execute(
                    select(announcements.c.body).where(announcements.c.subject.in_(chunk))
                ).scalars()
        return found

    def _rows(self, query: Select[Any]) -> list[Row]:
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
