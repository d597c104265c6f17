"""Make the tables for jobs, attempts, dead letters and tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("tenant", sa.String(64)),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("tie", sa.String(32), nullable=False),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        sa.Column("max_attempts", sa.BigInteger),
        sa.Column("submitted_ms", sa.BigInteger, nullable=False),
        sa.Column("scheduled_ms", sa.BigInteger),
        sa.Column("first_started_ms", sa.BigInteger),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("progress", sa.Float),
        sa.Column("progress_message", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_traceback", sa.Text),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "id"])
    op.create_index("jobs_by_queue", "jobs", ["queue", "state", "id"])
    op.create_index("jobs_by_task", "jobs", ["task", "id"])
    op.create_table(
        "attempts",
        sa.Column("job", sa.String(36), primary_key=True),
        sa.Column("attempt", sa.BigInteger, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("tie", sa.String(32), nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("worker", sa.Text),
        sa.Column("started_ms", sa.BigInteger),
        sa.Column("finished_ms", sa.BigInteger),
        sa.Column("redelivered", sa.Boolean, nullable=False),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_traceback", sa.Text),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("job", sa.String(36)),
        sa.Column("task", sa.Text),
        sa.Column("queue", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempt", sa.BigInteger),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("error_traceback", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("dead_letters_by_time", "dead_letters", ["at_ms", "id"])
    op.create_index("dead_letters_by_queue", "dead_letters", ["queue", "at_ms"])
    op.create_index("dead_letters_by_task", "dead_letters", ["task", "at_ms"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in ("tokens", "dead_letters", "attempts", "jobs"):
        op.drop_table(table)
