"""Dead letters at hand: who moves one claims it first, so that no two do.

A claim ends by itself after a while, for its holder may have died. Whatever is done about a letter afterwards asks
whether the claim still holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, or_, select, tuple_, update

from warren_server.store.fold import Row
from warren_server.store.schema import dead_letters

CHUNK: Final = 300
"""Rows to a statement with an IN list; SQLite of old takes 999 variables."""

_REDRIVEN: Final = "redriven"
_NO_CONTENT: Final[Mapping[str, Any]] = {
    "body": b"",
    "message": "{}",
    "error_message": None,
    "error_traceback": None,
    "claim_ms": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A right to some letters, for a while.

    Attributes:
        holder: Who has it: a redrive, or an id made for one retry.
        until_ms: When it ends.
    """

    holder: str
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What came of letters at hand.

    Attributes:
        moved: Letters back in their queues, with the attempt each had when it was claimed.
        failed: Letters that cannot be moved; they stay, and this redrive does not try them again.
        released: Letters to be tried again.
    """

    moved: Mapping[str, int] = field(default_factory=dict)
    failed: Sequence[str] = ()
    released: Sequence[str] = ()


def take(
    connection: Connection,
    conditions: Sequence[ColumnElement[bool]],
    claim: Claim,
    now_ms: int,
    limit: int,
    after: tuple[int, str] | None = None,
) -> list[Row]:
    """Claim letters, those that died first first, and return them.

    Args:
        connection: A transaction that writes.
        conditions: Which letters.
        claim: By whom and until when.
        now_ms: The time.
        limit: Most to claim.
        after: Only letters after this one, by time and id.
    """
    columns = dead_letters.c
    query = select(dead_letters).where(*conditions, free(claim.holder, now_ms))
    if after is not None:
        query = query.where(tuple_(columns.at_ms, columns.id) > after)
    query = query.order_by(columns.at_ms, columns.id).limit(limit).with_for_update(skip_locked=True)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    _change(connection, [row["id"] for row in rows], {"redrive": claim.holder, "claim_ms": claim.until_ms})
    return rows


def close(connection: Connection, claim: Claim, results: Results, now_ms: int) -> int:
    """Say what came of claimed letters.

    Returns:
        How many were moved by this holder: not those whose claim ended and that another holder took meanwhile.
    """
    found = _locked(connection, [*results.moved, *results.failed, *results.released])
    held = {row["id"] for row in found if (row["redrive"], row["claim_ms"]) == (claim.holder, claim.until_ms)}
    # A job that died again already has a new letter in this one's place.
    replaced = [row["id"] for row in found if row["attempt"] > results.moved.get(row["id"], row["attempt"])]
    gone = [letter for letter in results.moved if letter in held]
    _change(connection, gone, tombstone(_REDRIVEN, now_ms))
    _change(connection, [letter for letter in results.failed if letter in held], {"claim_ms": None})
    released = [letter for letter in results.released if letter in held]
    _change(connection, released, {"redrive": None, "claim_ms": None})
    return len(gone) + len(replaced)


def free(holder: str, now_ms: int) -> ColumnElement[bool]:
    """Say which letters a holder may claim: at nobody's hand, and not found impossible to move by itself."""
    columns = dead_letters.c
    untouched = and_(columns.claim_ms.is_(None), or_(columns.redrive.is_(None), columns.redrive != holder))
    return or_(untouched, columns.claim_ms < now_ms)


def tombstone(how: str, now_ms: int) -> Row:
    """Return what makes a letter a tombstone; its content goes."""
    return {**_NO_CONTENT, "gone_ms": now_ms, "gone_how": how}


def _locked(connection: Connection, ids: Sequence[str]) -> list[Row]:
    columns = dead_letters.c
    rows: list[Row] = []
    ordered = sorted(ids)
    for start in range(0, len(ordered), CHUNK):
        query = select(columns.id, columns.attempt, columns.redrive, columns.claim_ms)
        query = query.where(columns.id.in_(ordered[start : start + CHUNK]), columns.gone_ms.is_(None))
        rows += [dict(row) for row in connection.execute(query.order_by(columns.id).with_for_update()).mappings()]
    return rows


def _change(connection: Connection, ids: Sequence[str], values: Mapping[str, Any]) -> None:
    for start in range(0, len(ids), CHUNK):
        chosen = dead_letters.c.id.in_(ids[start : start + CHUNK])
        connection.execute(update(dead_letters).where(chosen).values(**values))
