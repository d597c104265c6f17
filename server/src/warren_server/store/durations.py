"""How long jobs took lately, by queue."""

from __future__ import annotations

from sqlalchemy import and_, func, select

from warren_server.store.engine import Database
from warren_server.store.schema import attempts, jobs


class DurationStore:
    """Reads the last runs of jobs that ended. Every look is a few index entries, however many jobs there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def latest(self, queue: str, limit: int) -> list[float]:
        """Return the seconds of the last run of the jobs that were submitted last and have ended by running.

        Args:
            queue: Their queue.
            limit: Most jobs of each way to end.

        Returns:
            Seconds, those of the latest job first.
        """
        found: list[tuple[str, float]] = []
        with self._database.read() as connection:
            for state in ("succeeded", "dead"):
                ended = (
                    select(jobs.c.id, jobs.c.attempt)
                    .where(jobs.c.queue == queue, jobs.c.state == state)
                    .order_by(jobs.c.id.desc())
                    .limit(limit)
                    .subquery()
                )
                runs = select(attempts.c.job, attempts.c.started_ms, attempts.c.finished_ms).join(
                    ended, and_(attempts.c.job == ended.c.id, attempts.c.attempt == ended.c.attempt)
                )
                for job, started_ms, finished_ms in connection.execute(runs):
                    if started_ms is not None and finished_ms is not None:
                        found.append((job, max(finished_ms - started_ms, 0) / 1000))
        return [seconds for _, seconds in sorted(found, reverse=True)]

    def running(self, queue: str) -> int:
        """Return how many jobs of a queue run, as far as their events have come in."""
        counted = select(func.count()).where(jobs.c.queue == queue, jobs.c.state == "running")
        with self._database.read() as connection:
            return int(connection.execute(counted).scalar_one())
