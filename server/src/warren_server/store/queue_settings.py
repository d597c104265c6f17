"""How queues are worked on: paused or not, priority, limits. One row for each queue that was ever changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from sqlalchemy import RowMapping, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from warren_server.store.engine import Database
from warren_server.store.schema import queue_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How one queue is worked on, and how far that was carried out.

    Attributes:
        queue: Its name.
        paused: No more jobs of it are to start.
        priority: Of several queues at one worker, those of higher priority go first.
        max_length: Submits are refused while so many jobs are ready, or None for no limit.
        concurrency: Jobs that may run at once on all workers together, or None for no limit.
        rate_count: Jobs that may start within any `rate_seconds`, or None for no limit.
        rate_seconds: Length of the window of the rate.
        generation: Which set of tokens is to be valid; rises with each.
        told_paused: What workers were last told of pausing.
        told_generation: The set of tokens workers were last told of.
        lease_ms: Until when whoever carries out a change has it to itself; 0 when nobody does.
        updated_ms: When it was last changed.
    """

    queue: str
    paused: bool = False
    priority: int = 0
    max_length: int | None = None
    concurrency: int | None = None
    rate_count: int | None = None
    rate_seconds: int | None = None
    generation: int = 0
    told_paused: bool = False
    told_generation: int = 0
    lease_ms: int = 0
    updated_ms: int = 0

    @property
    def settled(self) -> bool:
        """Whether workers know all of it."""
        return self.paused == self.told_paused and self.generation == self.told_generation


_COLUMNS: Final = tuple(field.name for field in fields(QueueSettings))


class QueueSettingsStore:
    """The queue_settings table. Changes to one queue exclude each other by a lease, across servers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, queue: str) -> QueueSettings:
        """Return a queue's settings; those of a queue never changed are the usual ones."""
        with self._database.read() as connection:
            row = connection.execute(select(queue_settings).where(queue_settings.c.queue == queue)).mappings().first()
        return QueueSettings(queue=queue) if row is None else _read(row)

    def all(self) -> dict[str, QueueSettings]:
        """Return the settings of every queue that was ever changed, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(queue_settings).order_by(queue_settings.c.queue)).mappings()
            return {row["queue"]: _read(row) for row in rows}

    def claim(
        self,
        queue: str,
        now_ms: int,
        lease_ms: int,
        changes: Mapping[str, Any],
        *,
        new_tokens: bool = False,
        seen: QueueSettings | None = None,
    ) -> QueueSettings | None:
        """Change a queue's settings and take its lease, or do neither.

        Args:
            queue: Its name.
            now_ms: The time; a lease that ended before it is nobody's.
            lease_ms: Until when the lease is ours; it tells our changes from another's.
            changes: Columns with their new values.
            new_tokens: Raise the generation too.
            seen: Only if no set of tokens came after this one.

        Returns:
            The settings as they are now, or None while another has the lease or when another was first.
        """
        values = {**changes, "lease_ms": lease_ms, "updated_ms": now_ms}
        if new_tokens:
            values["generation"] = queue_settings.c.generation + 1
        mine = update(queue_settings).where(queue_settings.c.queue == queue, queue_settings.c.lease_ms < now_ms)
        if seen is not None:
            mine = mine.where(queue_settings.c.generation == seen.generation)
        insert: Any = sqlite.insert if self._database.sqlite else postgresql.insert
        usual = insert(queue_settings).values(asdict(QueueSettings(queue=queue))).on_conflict_do_nothing()
        with self._database.write() as connection:
            connection.execute(usual)
            if connection.execute(mine.values(values)).rowcount == 0:
                return None
            row = connection.execute(select(queue_settings).where(queue_settings.c.queue == queue)).mappings().one()
            return _read(row)

    def release(self, claimed: QueueSettings, **told: Any) -> bool:
        """Give the lease back, with what workers were told.

        Returns:
            Whether it was still ours; if not, nothing was changed.
        """
        mine = update(queue_settings).where(
            queue_settings.c.queue == claimed.queue, queue_settings.c.lease_ms == claimed.lease_ms
        )
        with self._database.write() as connection:
            return connection.execute(mine.values(lease_ms=0, **told)).rowcount > 0

    def doubt(self, queue: str) -> None:
        """Take nothing for told: an order of ours may have come to workers after a later one."""
        doubted = update(queue_settings).where(queue_settings.c.queue == queue)
        with self._database.write() as connection:
            connection.execute(doubted.values(told_paused=not_(queue_settings.c.paused), told_generation=-1))

    def unsettled(self, now_ms: int) -> list[QueueSettings]:
        """Return the settings whose change was begun, is not carried out, and is nobody's now."""
        waiting = or_(
            queue_settings.c.paused != queue_settings.c.told_paused,
            queue_settings.c.generation != queue_settings.c.told_generation,
        )
        query = select(queue_settings).where(waiting, queue_settings.c.lease_ms < now_ms)
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query.order_by(queue_settings.c.queue)).mappings()]


def _read(row: RowMapping) -> QueueSettings:
    return QueueSettings(**{name: row[name] for name in _COLUMNS})
