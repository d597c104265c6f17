"""What Alembic runs, on the connection it is given; commit and lock are `warren_server.store.engine`'s."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
