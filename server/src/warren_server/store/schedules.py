"""Schedules in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from warren_server.schedules.schedule import Definition, Schedule
from warren_server.store.engine import Database
from warren_server.store.schema import schedules, ticks

_PLAIN = ("cron", "interval_seconds", "timezone", "start_ms", "jitter_seconds", "catch_up", "task", "paused")
"""Parts of a definition that are columns as they are."""


class ScheduleStore:
    """The schedules table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Schedule]:
        """Return all schedules, by name."""
        with self._database.read() as connection:
            found = connection.execute(select(schedules).order_by(schedules.c.name)).mappings()
            return [read(row) for row in found]

    def get(self, name: str) -> Schedule | None:
        """Return a schedule, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(schedules).where(schedules.c.name == name)).mappings().first()
            return None if row is None else read(row)

    def edit(
        self, name: str, change: Callable[[Schedule | None], Schedule | None]
    ) -> tuple[Schedule | None, Schedule | None]:
        """Change a schedule while nobody else does; ticks of one that is removed go with it.

        Args:
            name: Its name.
            change: Says from the schedule as it is, or None, what it becomes; None removes it. May be called again
                when another server was faster.

        Returns:
            The schedule before and after.
        """
        while True:
            with self._database.write() as connection:
                old = _lock(connection, name)
                new = change(old)
                if new == old or _write(connection, old, new):
                    return old, new


def read(row: RowMapping) -> Schedule:
    """Read a row."""
    definition = Definition(
        **{name: row[name] for name in _PLAIN},
        arguments=json.loads(row["arguments"]),
        options=json.loads(row["options"]),
    )
    return Schedule(
        name=row["name"],
        definition=definition,
        file=row["file"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        next_ms=row["next_ms"],
    )


def _lock(connection: Connection, name: str) -> Schedule | None:
    found = select(schedules).where(schedules.c.name == name).with_for_update()
    row = connection.execute(found).mappings().first()
    return None if row is None else read(row)


def _write(connection: Connection, old: Schedule | None, new: Schedule | None) -> bool:
    """Write a change; False when somebody else has just made a schedule of that name."""
    if new is None:
        assert old is not None  # noqa: S101 - a change from nothing to nothing is none
        connection.execute(delete(ticks).where(ticks.c.schedule == old.name))
        connection.execute(delete(schedules).where(schedules.c.name == old.name))
        return True
    row = _row(new)
    if old is None:
        insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        made = insert(schedules).values(row).on_conflict_do_nothing().returning(schedules.c.name)
        return connection.scalar(made) is not None
    connection.execute(update(schedules).where(schedules.c.name == new.name).values(row))
    return True


def _row(schedule: Schedule) -> Mapping[str, Any]:
    definition = schedule.definition
    return {
        "name": schedule.name,
        "file": schedule.file,
        **{name: getattr(definition, name) for name in _PLAIN},
        "arguments": json.dumps(definition.arguments),
        "options": json.dumps(definition.options),
        "created_ms": schedule.created_ms,
        "updated_ms": schedule.updated_ms,
        "next_ms": schedule.next_ms,
    }
