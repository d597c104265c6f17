"""Make what the delivery guarantees need: keys, schedules, redrives, limits, announcements, and new columns."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = ("idempotency_keys", "schedules", "ticks", "redrives", "queue_settings", "announcements")
_DEAD_LETTER_INDEXES = {
    "dead_letters_by_time": ("at_ms", "id"),
    "dead_letters_by_queue": ("queue", "at_ms"),
    "dead_letters_by_task": ("task", "at_ms"),
}


def upgrade() -> None:
    """Add columns and tables."""
    for table, column in _columns():
        op.add_column(table, column)
    _index_dead_letters("gone_ms IS NULL")
    op.create_index(
        "dead_letters_by_gone",
        "dead_letters",
        ["gone_ms"],
        sqlite_where=sa.text("gone_ms IS NOT NULL"),
        postgresql_where=sa.text("gone_ms IS NOT NULL"),
    )
    _make_idempotency_keys()
    _make_schedules()
    _make_ticks()
    _make_redrives()
    _make_queue_settings()
    _make_announcements()


def downgrade() -> None:
    """Remove them."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.drop_index("dead_letters_by_gone", "dead_letters")
    _index_dead_letters(None)
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name)


def _index_dead_letters(only: str | None) -> None:
    where = None if only is None else sa.text(only)
    for name, columns in _DEAD_LETTER_INDEXES.items():
        op.drop_index(name, "dead_letters")
        op.create_index(name, "dead_letters", list(columns), sqlite_where=where, postgresql_where=where)


def _make_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("endpoint", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.Column("locked_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("body", sa.Text),
    )
    op.create_index("idempotency_keys_by_expiry", "idempotency_keys", ["expires_ms"])


def _make_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("file", sa.Text),
        sa.Column("cron", sa.Text),
        sa.Column("interval_seconds", sa.BigInteger),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("start_ms", sa.BigInteger),
        sa.Column("jitter_seconds", sa.BigInteger, nullable=False),
        sa.Column("catch_up", sa.String(8), nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("arguments", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("next_ms", sa.BigInteger),
    )
    op.create_index("schedules_by_next", "schedules", ["next_ms"])


def _make_ticks() -> None:
    op.create_table(
        "ticks",
        sa.Column("schedule", sa.String(100), primary_key=True),
        sa.Column("tick_ms", sa.BigInteger, primary_key=True),
        sa.Column("job", sa.String(36), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("claimed_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_ms", sa.BigInteger, nullable=False),
        sa.Column("fired_ms", sa.BigInteger),
        sa.Column("error", sa.Text),
    )
    op.create_index("ticks_by_state", "ticks", ["state", "lease_ms"])


def _make_redrives() -> None:
    op.create_table(
        "redrives",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("filter", sa.Text, nullable=False),
        sa.Column("rate", sa.Float),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("moved", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("owner", sa.Text),
        sa.Column("lease_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("redrives_by_state", "redrives", ["state", "created_ms"])


def _make_queue_settings() -> None:
    op.create_table(
        "queue_settings",
        sa.Column("queue", sa.String(190), primary_key=True),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.Column("max_length", sa.BigInteger),
        sa.Column("concurrency", sa.BigInteger),
        sa.Column("rate_count", sa.BigInteger),
        sa.Column("rate_seconds", sa.BigInteger),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("told_paused", sa.Boolean, nullable=False),
        sa.Column("told_generation", sa.BigInteger, nullable=False),
        sa.Column("lease_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
    )


def _make_announcements() -> None:
    op.create_table(
        "announcements",
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("announced_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger),
    )
    op.create_index("announcements_by_time", "announcements", ["announced_ms"])


def _columns() -> tuple[tuple[str, sa.Column[Any]], ...]:
    return (
        ("jobs", sa.Column("round", sa.BigInteger, nullable=False, server_default="0")),
        ("jobs", sa.Column("cancel_requested_ms", sa.BigInteger)),
        ("attempts", sa.Column("duplicate", sa.Boolean, nullable=False, server_default=sa.false())),
        ("dead_letters", sa.Column("outcome", sa.Text)),
        ("dead_letters", sa.Column("image", sa.Text)),
        ("dead_letters", sa.Column("gone_ms", sa.BigInteger)),
        ("dead_letters", sa.Column("gone_how", sa.String(16))),
        ("dead_letters", sa.Column("stored_ms", sa.BigInteger, nullable=False, server_default="0")),
        ("dead_letters", sa.Column("redrive", sa.String(36))),
        ("dead_letters", sa.Column("claim_ms", sa.BigInteger)),
        ("tokens", sa.Column("tenant", sa.String(64))),
    )
