"""Tables of the store. Times are milliseconds since the epoch; `migrations/` brings a database to this."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, LargeBinary, MetaData, String, Table, Text

metadata: Final = MetaData()

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(64)),
    Column("task", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("state", String(16), nullable=False),
    # Where the winning event stands; see `warren_server.store.fold`.
    Column("position", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("tie", String(32), nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("max_attempts", BigInteger),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("scheduled_ms", BigInteger),
    Column("first_started_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Column("progress", Float),
    Column("progress_message", Text),
    Column("result", Text),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("error_traceback", Text),
    Index("jobs_by_state", "state", "id"),
    Index("jobs_by_queue", "queue", "state", "id"),
    Index("jobs_by_task", "task", "id"),
)

attempts: Final = Table(
    "attempts",
    metadata,
    Column("job", String(36), primary_key=True),
    Column("attempt", BigInteger, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("tie", String(32), nullable=False),
    Column("outcome", Text),
    Column("worker", Text),
    Column("started_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Column("redelivered", Boolean, nullable=False),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("error_traceback", Text),
)

dead_letters: Final = Table(
    "dead_letters",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job", String(36)),
    Column("task", Text),
    Column("queue", Text),
    Column("reason", Text, nullable=False),
    Column("attempt", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    Column("worker", Text),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("error_traceback", Text),
    Column("body", LargeBinary, nullable=False),
    Column("message", Text, nullable=False),
    Index("dead_letters_by_time", "at_ms", "id"),
    Index("dead_letters_by_queue", "queue", "at_ms"),
    Index("dead_letters_by_task", "task", "at_ms"),
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)
