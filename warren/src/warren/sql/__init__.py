"""Effects that happen once and jobs that are sent when you commit, in your own database's transactions.

```python
from warren.sql import once

@task
def charge(ctx: Context, order: int) -> None:
    with engine.begin() as connection:
        if once(connection, ctx, "charge"):
            connection.execute(update(orders).where(orders.c.id == order).values(charged=True))
```

Needs `pip install warren[sql]` (SQLAlchemy 2) and runs on PostgreSQL and SQLite. The tables are made by
`create_tables(engine)`, or by your own migrations: `effects`, `fences` and `outbox` are ordinary tables.
"""

from warren.sql.effects import fence, forget, once
from warren.sql.outbox import enqueue
from warren.sql.relay import Relay
from warren.sql.tables import create_tables, effects, fences, metadata, outbox

__all__ = ["Relay", "create_tables", "effects", "enqueue", "fence", "fences", "forget", "metadata", "once", "outbox"]
