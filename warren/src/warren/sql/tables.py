"""The tables in the user's database. Times are milliseconds since the epoch."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

metadata: Final = MetaData()

effects: Final = Table(
    "warren_effects",
    metadata,
    Column("job", String(36), primary_key=True),
    Column("step", String(200), primary_key=True),
    # The attempt that had the effect; 0 when it is not known.
    Column("attempt", BigInteger, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Index("warren_effects_by_time", "made_ms"),
)

fences: Final = Table(
    "warren_fences",
    metadata,
    Column("job", String(36), primary_key=True),
    # The latest run that was let through.
    Column("round", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Index("warren_fences_by_time", "made_ms"),
)

outbox: Final = Table(
    "warren_outbox",
    metadata,
    # The order of sending. SQLite counts by itself in INTEGER only.
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("job", String(36), nullable=False),
    Column("task", String(100), nullable=False),
    Column("queue", String(190), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("enqueued_ms", BigInteger, nullable=False),
    # When the job may start; None for at once.
    Column("due_ms", BigInteger),
    Column("expires_ms", BigInteger),
    Column("priority", SmallInteger, nullable=False),
    Column("timeout_seconds", Float),
    Column("max_attempts", BigInteger),
    Column("tenant", String(64)),
    # Until when a relay has the row to itself, or lets it rest after a failure; and which relay.
    Column("leased_ms", BigInteger, nullable=False),
    Column("lease", String(36)),
    Column("tries", BigInteger, nullable=False),
    # Why the last try failed.
    Column("error", Text),
    Index("warren_outbox_by_lease", "leased_ms", "position"),
    Index("warren_outbox_by_owner", "lease"),
)


def create_tables(engine: Engine) -> None:
    """Make the tables that are missing."""
    metadata.create_all(engine)
