"""Effects in the user's own transaction: each once, however often the job runs.

The record of an effect and the effect itself are committed together or not at all, which no other place can promise.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, and_, delete, or_
from sqlalchemy.dialects import postgresql, sqlite

from warren.context import Context
from warren.errors import UnsupportedDatabase
from warren.sql.tables import effects, fences

_PRESERVE = {"preserve_rowcount": True}
"""SQLAlchemy forgets how many rows an INSERT made unless it is told."""


def once(connection: Connection, job: Context | str, step: str = "") -> bool:
    """Tell whether an effect is still to be made, and note that this transaction makes it.

    When two runs of a job ask at the same time, the second waits until the first has committed (and is told False) or
    rolled back (and is told True).

    Args:
        connection: The connection whose transaction makes the effect; with an ORM session `session.connection()`.
        job: The task's context, or the job's id.
        step: Names the effect within the job, at most 200 characters.

    Returns:
        True when the effect is to be made; False when it is committed already.

    Raises:
        UnsupportedDatabase: The database is neither PostgreSQL nor SQLite.
    """
    job_id, attempt = (job.job_id, job.attempt) if isinstance(job, Context) else (job, 0)
    row = {"job": job_id, "step": step, "attempt": attempt, "made_ms": _now_ms()}
    statement = _insert(connection)(effects).values(row).on_conflict_do_nothing()
    return connection.execute(statement, execution_options=_PRESERVE).rowcount > 0


def fence(connection: Connection, ctx: Context) -> bool:
    """Let a run through unless a later run of its job was let through before.

    A worker that was paused, or cut off from the broker, may wake up when its job runs elsewhere already. Asked first
    in each transaction, this keeps the old run from writing after the new one; until the transaction ends the other
    run waits.

    Args:
        connection: The connection whose transaction is protected.
        ctx: The task's context.

    Returns:
        False when a later run was here: this one should stop.

    Raises:
        UnsupportedDatabase: The database is neither PostgreSQL nor SQLite.
    """
    mine = {"round": ctx.round, "attempt": ctx.attempt, "made_ms": _now_ms()}
    earlier_round = fences.c.round < ctx.round
    not_later = or_(earlier_round, and_(fences.c.round == ctx.round, fences.c.attempt <= ctx.attempt))
    statement = (
        _insert(connection)(fences)
        .values(job=ctx.job_id, **mine)
        .on_conflict_do_update(index_elements=["job"], set_=mine, where=not_later)
    )
    return connection.execute(statement, execution_options=_PRESERVE).rowcount > 0


def forget(connection: Connection, older_than_seconds: float) -> int:
    """Remove old records of effects and fences; call it now and then, with an age that no job reaches.

    Args:
        connection: A connection with a transaction.
        older_than_seconds: How old they must be. A job that runs again after this repeats its effects.

    Returns:
        How many were removed.
    """
    before_ms = _now_ms() - int(older_than_seconds * 1000)
    tables = (effects, fences)
    return sum(connection.execute(delete(table).where(table.c.made_ms < before_ms)).rowcount for table in tables)


def _insert(connection: Connection) -> Any:
    """Return the dialect's own INSERT, the one that knows ON CONFLICT."""
    match connection.dialect.name:
        case "postgresql":
            return postgresql.insert
        case "sqlite":
            return sqlite.insert
        case other:
            raise UnsupportedDatabase(f"warren.sql runs on PostgreSQL and SQLite; this is {other}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
