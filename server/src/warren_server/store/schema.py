"""Tables of the store. Times are milliseconds since the epoch; `migrations/` brings a database to this."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata: Final = MetaData()

THERE: Final = "gone_ms IS NULL"
ENDED: Final = "finished_ms IS NOT NULL"
GONE: Final = "gone_ms IS NOT NULL"

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
    # How often the job was brought back from the dead letters.
    Column("round", BigInteger, nullable=False),
    Column("max_attempts", BigInteger),
    # When somebody asked to cancel it; the job's state says what came of that.
    Column("cancel_requested_ms", BigInteger),
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
    Index("jobs_by_end", "finished_ms", sqlite_where=text(ENDED), postgresql_where=text(ENDED)),
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
    # The attempt ran more than once: its message was handed out or published twice.
    Column("duplicate", Boolean, nullable=False),
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
    Column("outcome", Text),
    Column("image", Text),
    # A letter that was redriven or purged stays as a tombstone, so that a copy handed out again does not bring it back.
    Column("gone_ms", BigInteger),
    Column("gone_how", String(16)),
    # When the store got it: what is told to act on the letters there are leaves later ones alone.
    Column("stored_ms", BigInteger, nullable=False, server_default="0"),
    # The redrive or retry that has it at hand until `claim_ms`; without that time, the redrive that could not move it.
    Column("redrive", String(36)),
    Column("claim_ms", BigInteger),
    # Tombstones, of which there may be many, are in none of the indexes that lists read.
    Index("dead_letters_by_time", "at_ms", "id", sqlite_where=text(THERE), postgresql_where=text(THERE)),
    Index("dead_letters_by_queue", "queue", "at_ms", sqlite_where=text(THERE), postgresql_where=text(THERE)),
    Index("dead_letters_by_task", "task", "at_ms", sqlite_where=text(THERE), postgresql_where=text(THERE)),
    Index("dead_letters_by_job", "job"),
    Index("dead_letters_by_gone", "gone_ms", sqlite_where=text(GONE), postgresql_where=text(GONE)),
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
    # Whose jobs its bearer submits; None is the tenant without a name.
    Column("tenant", String(64)),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("endpoint", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    # SHA-256 of the request, in hex: the same key with another request is refused.
    Column("fingerprint", String(64), nullable=False),
    # 0 at the key's first use, then the time of each use after it expired, so that each makes job ids of its own.
    Column("generation", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    # Until when the request that came first has the key to itself.
    Column("locked_ms", BigInteger, nullable=False),
    # Answer to replay; None while there is none.
    Column("status", Integer),
    Column("body", Text),
    Index("idempotency_keys_by_expiry", "expires_ms"),
)

schedules: Final = Table(
    "schedules",
    metadata,
    Column("name", String(100), primary_key=True),
    # The declared file it comes from; None when it was made by the API.
    Column("file", Text),
    Column("cron", Text),
    Column("interval_seconds", BigInteger),
    Column("timezone", Text, nullable=False),
    # No tick before it, intervals count from it; None for when the schedule was made.
    Column("start_ms", BigInteger),
    Column("jitter_seconds", BigInteger, nullable=False),
    Column("catch_up", String(8), nullable=False),
    Column("task", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    # The first tick that was not dealt with; None when there is none.
    Column("next_ms", BigInteger),
    Index("schedules_by_next", "next_ms"),
)

ticks: Final = Table(
    "ticks",
    metadata,
    Column("schedule", String(100), primary_key=True),
    Column("tick_ms", BigInteger, primary_key=True),
    Column("job", String(36), nullable=False),
    # claimed, fired or refused.
    Column("state", String(16), nullable=False),
    Column("claimed_ms", BigInteger, nullable=False),
    # Until when the server that claimed the tick has it to itself.
    Column("lease_ms", BigInteger, nullable=False),
    Column("fired_ms", BigInteger),
    Column("error", Text),
    Index("ticks_by_state", "state", "lease_ms"),
)

redrives: Final = Table(
    "redrives",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("filter", Text, nullable=False),
    Column("rate", Float),
    Column("total", BigInteger, nullable=False),
    Column("moved", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("finished_ms", BigInteger),
    Column("error", Text),
    # Who works on it, and until when without a sign of life.
    Column("owner", Text),
    Column("lease_ms", BigInteger, nullable=False),
    Index("redrives_by_state", "state", "created_ms"),
)

queue_settings: Final = Table(
    "queue_settings",
    metadata,
    Column("queue", String(190), primary_key=True),
    Column("paused", Boolean, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("max_length", BigInteger),
    Column("concurrency", BigInteger),
    Column("rate_count", BigInteger),
    Column("rate_seconds", BigInteger),
    # Changes with each new set of tokens; tokens of an older one are thrown away.
    Column("generation", BigInteger, nullable=False),
    # What workers were told last; differs while a change is on its way to them.
    Column("told_paused", Boolean, nullable=False),
    Column("told_generation", BigInteger, nullable=False),
    # Until when the server that carries out a change has it to itself.
    Column("lease_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)

announcements: Final = Table(
    "announcements",
    metadata,
    # What it is about, such as `pause:media`; a later announcement of the same thing takes its place.
    Column("subject", String(255), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("announced_ms", BigInteger, nullable=False),
    # When nobody can need it any more; None for never.
    Column("until_ms", BigInteger),
    Index("announcements_by_time", "announced_ms"),
)
