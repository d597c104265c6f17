"""Redrives in the store: what is to be moved, how far it is, and which server works on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from warren_server.store import claims
from warren_server.store.claims import Claim, Results
from warren_server.store.dead_letters import DeadLetterFilter
from warren_server.store.engine import Database
from warren_server.store.fold import Row
from warren_server.store.schema import dead_letters, jobs, redrives

RUNNING: Final = "running"
STOPPED: Final = "stopped"
DONE: Final = "done"
FAILED: Final = "failed"

_MAX_ERROR: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """A redrive.

    Attributes:
        id: Its id.
        state: `running`, `stopped`, `done` or `failed`.
        wanted: Which letters it moves.
        rate: Jobs a second, or None for as fast as it goes.
        total: Letters it found at its start.
        moved: Letters moved so far.
        failed: Letters that cannot be moved.
        created_ms: When it began; letters the store got later are not part of it.
        finished_ms: When it ended.
        error: The last thing that went wrong.
    """

    id: str
    state: str
    wanted: DeadLetterFilter
    rate: float | None
    total: int
    moved: int
    failed: int
    created_ms: int
    finished_ms: int | None
    error: str | None


class RedriveStore:
    """The redrives table, and the letters that redrives have at hand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, redrive: Redrive) -> None:
        """Keep a new redrive; nobody works on it yet."""
        row = {
            "id": redrive.id,
            "state": redrive.state,
            "filter": json.dumps(redrive.wanted.given()),
            "rate": redrive.rate,
            "total": redrive.total,
            "moved": 0,
            "failed": 0,
            "created_ms": redrive.created_ms,
            "lease_ms": 0,
        }
        with self._database.write() as connection:
            connection.execute(insert(redrives).values(row))

    def get(self, redrive: str) -> Redrive | None:
        """Return a redrive, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(redrives).where(redrives.c.id == redrive)).mappings().first()
            return None if row is None else _redrive(dict(row))

    def list(self, limit: int) -> list[Redrive]:
        """Return redrives, the latest first."""
        query = select(redrives).order_by(redrives.c.created_ms.desc(), redrives.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_redrive(dict(row)) for row in connection.execute(query).mappings()]

    def stop(self, redrive: str, now_ms: int) -> None:
        """Stop a redrive; what it has at hand is moved, and no more. Harmless when it has ended."""
        running = (redrives.c.id == redrive) & (redrives.c.state == RUNNING)
        with self._database.write() as connection:
            connection.execute(update(redrives).where(running).values(state=STOPPED, finished_ms=now_ms))

    def adopt(self, owner: str, now_ms: int, lease_ms: int) -> Redrive | None:
        """Take over a running redrive that nobody works on, the oldest first.

        Args:
            owner: Who takes it.
            now_ms: The time.
            lease_ms: Until when it is this owner's without a sign of life.
        """
        columns = redrives.c
        alone = select(redrives).where(columns.state == RUNNING, columns.lease_ms < now_ms)
        alone = alone.order_by(columns.created_ms).limit(1).with_for_update(skip_locked=True)
        with self._database.write() as connection:
            row = connection.execute(alone).mappings().first()
            if row is None:
                return None
            taken = update(redrives).where(columns.id == row["id"]).values(owner=owner, lease_ms=lease_ms)
            connection.execute(taken)
            return _redrive(dict(row))

    def keep(self, redrive: str, owner: str, lease_ms: int) -> bool:
        """Give a sign of life; False when the redrive has ended or is another's."""
        with self._database.write() as connection:
            return _keep(connection, redrive, owner, lease_ms)

    def leave(self, owner: str) -> None:
        """Leave all redrives of this owner to others."""
        mine = (redrives.c.owner == owner) & (redrives.c.state == RUNNING)
        with self._database.write() as connection:
            connection.execute(update(redrives).where(mine).values(lease_ms=0))

    def claim(
        self,
        redrive: Redrive,
        owner: str,
        claim: Claim,
        *,
        now_ms: int,
        lease_ms: int,
        limit: int,
        after: tuple[int, str] | None,
    ) -> Sequence[Row] | None:
        """Take letters at hand.

        Args:
            redrive: For which redrive.
            owner: Who works on it.
            claim: Until when.
            now_ms: The time.
            lease_ms: Until when the redrive is this owner's from now on.
            limit: Most letters.
            after: Only letters after this one.

        Returns:
            The letters, or None when the redrive has ended or is another's.
        """
        with self._database.write() as connection:
            if not _keep(connection, redrive.id, owner, lease_ms):
                return None
            return claims.take(connection, redrive.wanted.conditions(redrive.created_ms), claim, now_ms, limit, after)

    def close(self, redrive: str, claim: Claim, results: Results, now_ms: int, error: str | None) -> None:
        """Say what came of letters at hand, and count them."""
        columns = redrives.c
        with self._database.write() as connection:
            # The redrive first, as in `claim`: who works on letters and redrive must lock them in one order.
            connection.execute(select(columns.id).where(columns.id == redrive).with_for_update())
            moved = claims.close(connection, claim, results, now_ms)
            values: dict[str, Any] = {
                "moved": columns.moved + moved,
                "failed": columns.failed + len(results.failed),
            }
            if error is not None:
                values["error"] = error[:_MAX_ERROR]
            connection.execute(update(redrives).where(columns.id == redrive).values(**values))

    def pending(self, redrive: str) -> bool:
        """Whether letters are still at a redrive's hand: of a server that died, until the claim ends."""
        columns = dead_letters.c
        held = select(columns.id).where(
            columns.redrive == redrive, columns.claim_ms.is_not(None), columns.gone_ms.is_(None)
        )
        with self._database.read() as connection:
            return connection.execute(held.limit(1)).first() is not None

    def finish(self, redrive: str, owner: str, state: str, now_ms: int, error: str | None = None) -> None:
        """End a redrive, unless it has ended or is another's."""
        mine = (redrives.c.id == redrive) & (redrives.c.owner == owner) & (redrives.c.state == RUNNING)
        values: dict[str, Any] = {"state": state, "finished_ms": now_ms}
        if error is not None:
            values["error"] = error[:_MAX_ERROR]
        with self._database.write() as connection:
            connection.execute(update(redrives).where(mine).values(**values))

    def known_jobs(self, ids: Sequence[str]) -> dict[str, Row]:
        """Return attempt, round and the time of a wished cancel of those jobs the store knows."""
        known: dict[str, Row] = {}
        columns = (jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.round, jobs.c.cancel_requested_ms)
        with self._database.read() as connection:
            for start in range(0, len(ids), claims.CHUNK):
                query = select(*columns).where(jobs.c.id.in_(ids[start : start + claims.CHUNK]))
                known.update((row["id"], dict(row)) for row in connection.execute(query).mappings())
        return known


def _keep(connection: Connection, redrive: str, owner: str, lease_ms: int) -> bool:
    mine = (redrives.c.id == redrive) & (redrives.c.owner == owner) & (redrives.c.state == RUNNING)
    return connection.execute(update(redrives).where(mine).values(lease_ms=lease_ms)).rowcount == 1


def _redrive(row: Row) -> Redrive:
    names = ("id", "state", "rate", "total", "moved", "failed", "created_ms", "finished_ms", "error")
    return Redrive(wanted=DeadLetterFilter(**json.loads(row["filter"])), **{name: row[name] for name in names})
