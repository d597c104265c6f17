"""Jobs in the store: projecting events onto them, and reading them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from warren.events import Event
from warren_server.store import fold
from warren_server.store.engine import Database
from warren_server.store.fold import Row
from warren_server.store.schema import attempts, jobs

_FOLDED: Final = tuple(column for column in jobs.c if column.name != "cancel_requested_ms")
"""Columns of a job that come from its events."""
_CHUNK: Final = 300
"""Rows to a statement with an IN list; SQLite of old takes 999 variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs to list; None means any.

    Attributes:
        state: Their state.
        queue: Their queue.
        task: Their task.
        tenant: Whose they are.
        before: Only jobs whose id sorts before this one, which for ids of the same kind means older.
        prefix: Only jobs whose id begins so: hexadecimal digits and dashes.
    """

    state: str | None = None
    queue: str | None = None
    task: str | None = None
    tenant: str | None = None
    before: str | None = None
    prefix: str | None = None


class JobStore:
    """The jobs and attempts tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, submitted: Sequence[Event]) -> None:
        """Write rows for jobs just submitted, in one transaction; a row that events made already stays.

        Args:
            submitted: For each job the event of attempt 0 that says so.
        """
        rows = [fold.fold_job(None, event) for event in sorted(submitted, key=lambda event: event.job)]
        with self._database.write() as connection:
            _insert_missing(connection, jobs, rows)

    def project(self, events: Sequence[Event]) -> None:
        """Apply events, in one transaction.

        Rows are made and locked in the order of their ids, so that processes with common jobs wait for each other in
        turn and never in a circle.
        """
        events = sorted(events, key=lambda event: (event.job, event.attempt))
        firsts = {event.job: fold.fold_job(None, event) for event in reversed(events)}
        with self._database.write() as connection:
            _insert_missing(connection, jobs, [firsts[job] for job in sorted(firsts)])
            old_jobs, old_attempts = _lock(connection, sorted(firsts))
            new_jobs, new_attempts = fold.fold(old_jobs, old_attempts, events)
            changed = [row for job, row in sorted(new_jobs.items()) if row != old_jobs.get(job)]
            _update(connection, jobs, ("id",), changed)
            # The lock on the job covers its attempts.
            _insert_missing(connection, attempts, [row for key, row in new_attempts.items() if key not in old_attempts])
            known = [row for key, row in new_attempts.items() if key in old_attempts and row != old_attempts[key]]
            _update(connection, attempts, ("job", "attempt"), known)

    def get(self, job: str) -> tuple[Row, list[Row]] | None:
        """Return a job with its attempts, oldest first, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job)).mappings().first()
            if row is None:
                return None
            found = select(attempts).where(attempts.c.job == job).order_by(attempts.c.attempt)
            return dict(row), [dict(item) for item in connection.execute(found).mappings()]

    def state(self, job: str) -> str | None:
        """Return a job's state, or None when there is no such job."""
        with self._database.read() as connection:
            return connection.execute(select(jobs.c.state).where(jobs.c.id == job)).scalar()

    def list(self, wanted: JobFilter, limit: int) -> list[tuple[Row, list[Row]]]:
        """Return jobs with their attempts, those of the highest ids first."""
        query = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        for column in ("state", "queue", "task", "tenant"):
            value = getattr(wanted, column)
            if value is not None:
                query = query.where(jobs.c[column] == value)
        if wanted.before is not None:
            query = query.where(jobs.c.id < wanted.before)
        if wanted.prefix is not None:
            # A range, which the primary key serves: ids have no letter beyond f.
            query = query.where(jobs.c.id >= wanted.prefix, jobs.c.id < f"{wanted.prefix}g")
        with self._database.read() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            runs: dict[str, list[Row]] = {row["id"]: [] for row in rows}
            for chunk in _chunks(list(runs)):
                found = select(attempts).where(attempts.c.job.in_(chunk)).order_by(attempts.c.attempt)
                for item in connection.execute(found).mappings():
                    runs[item["job"]].append(dict(item))
        return [(row, runs[row["id"]]) for row in rows]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many jobs are in which state, by queue."""
        counted: dict[str, dict[str, int]] = {}
        query = select(jobs.c.queue, jobs.c.state, func.count()).group_by(jobs.c.queue, jobs.c.state)
        with self._database.read() as connection:
            for queue, state, number in connection.execute(query):
                counted.setdefault(queue, {})[state] = number
        return counted


def _lock(connection: Connection, ids: Sequence[str]) -> tuple[dict[str, Row], dict[tuple[str, int], Row]]:
    old_jobs: dict[str, Row] = {}
    old_attempts: dict[tuple[str, int], Row] = {}
    for chunk in _chunks(ids):
        # SQLite has no FOR UPDATE and SQLAlchemy leaves it out there: its writers exclude each other anyway.
        locking = select(*_FOLDED).where(jobs.c.id.in_(chunk)).order_by(jobs.c.id).with_for_update()
        old_jobs.update((row["id"], dict(row)) for row in connection.execute(locking).mappings())
    for chunk in _chunks(ids):
        found = connection.execute(select(attempts).where(attempts.c.job.in_(chunk))).mappings()
        old_attempts.update(((row["job"], row["attempt"]), dict(row)) for row in found)
    return old_jobs, old_attempts


def _insert_missing(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _update(connection: Connection, table: Table, keys: Sequence[str], rows: Sequence[Row]) -> None:
    if rows:
        wanted = tuple_(*(table.c[key] for key in keys)) == tuple_(*(bindparam(f"key_{key}") for key in keys))
        values: dict[str, Any] = {name: bindparam(name) for name in rows[0] if name not in keys}
        renamed = [{f"key_{name}" if name in keys else name: value for name, value in row.items()} for row in rows]
        connection.execute(update(table).where(wanted).values(values), renamed)


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
