"""Wished cancels in the store: when somebody asked; what came of it is the job's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, select, update

from warren.events import FINAL, State
from warren_server.store.claims import CHUNK
from warren_server.store.engine import Database
from warren_server.store.schema import jobs

_BATCH: Final = 1000
"""Rows to a transaction."""
_OPEN: Final = tuple(state.value for state in State if state not in FINAL)


class CancelStore:
    """The wish to cancel, a column of the jobs table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def final(self, ids: Sequence[str]) -> set[str]:
        """Return those of the jobs that are final."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(ids), CHUNK):
                chunk = ids[start : start + CHUNK]
                query = select(jobs.c.id).where(jobs.c.id.in_(chunk), jobs.c.state.not_in(_OPEN))
                found.update(connection.execute(query).scalars())
        return found

    def mark(self, ids: Sequence[str], now_ms: int) -> None:
        """Note the wish on those of the jobs that the store knows and that are not final, some in a transaction."""
        ordered = sorted(ids)
        for start in range(0, len(ordered), _BATCH):
            with self._database.write() as connection:
                batch = ordered[start : start + _BATCH]
                for first in range(0, len(batch), CHUNK):
                    _note(connection, [jobs.c.id.in_(batch[first : first + CHUNK]), *_open()], now_ms, CHUNK)

    def mark_matching(
        self, queue: str | None, task: str | None, before_ms: int, *, waiting_only: bool, now_ms: int, after: str
    ) -> list[str]:
        """Note the wish on some of the jobs that match, in one transaction.

        Args:
            queue: Their queue, or None for any.
            task: Their task, or None for any.
            before_ms: They were submitted up to this time.
            waiting_only: Those that run are not meant.
            now_ms: The time.
            after: Only jobs whose id sorts after this one.

        Returns:
            Their ids in order; none when there are no more.
        """
        conditions = [jobs.c.id > after, jobs.c.submitted_ms <= before_ms, *_open()]
        if queue is not None:
            conditions.append(jobs.c.queue == queue)
        if task is not None:
            conditions.append(jobs.c.task == task)
        if waiting_only:
            conditions.append(jobs.c.state != State.RUNNING.value)
        with self._database.write() as connection:
            return _note(connection, conditions, now_ms, _BATCH)


def _open() -> list[ColumnElement[bool]]:
    return [jobs.c.state.in_(_OPEN), jobs.c.cancel_requested_ms.is_(None)]


def _note(connection: Connection, conditions: Sequence[ColumnElement[bool]], now_ms: int, limit: int) -> list[str]:
    """Lock rows in the order of their ids, as those who project events do, so that nobody waits in a circle."""
    chosen = select(jobs.c.id).where(*conditions).order_by(jobs.c.id).limit(limit).with_for_update()
    ids = list(connection.execute(chosen).scalars())
    for start in range(0, len(ids), CHUNK):
        noted = update(jobs).where(jobs.c.id.in_(ids[start : start + CHUNK]))
        connection.execute(noted.values(cancel_requested_ms=now_ms))
    return ids
