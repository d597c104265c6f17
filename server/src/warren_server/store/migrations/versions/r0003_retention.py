"""Find ended jobs by their age, and dead letters by their job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the indexes."""
    op.create_index(
        "jobs_by_end",
        "jobs",
        ["finished_ms"],
        sqlite_where=sa.text("finished_ms IS NOT NULL"),
        postgresql_where=sa.text("finished_ms IS NOT NULL"),
    )
    op.create_index("dead_letters_by_job", "dead_letters", ["job"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("dead_letters_by_job", "dead_letters")
    op.drop_index("jobs_by_end", "jobs")
