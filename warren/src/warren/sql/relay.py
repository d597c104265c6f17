"""The relay: sends what committed transactions left in the outbox. Publish, wait for the confirm, then delete.

A relay leases rows in one short transaction, so that no lock is held while the broker takes its time: on SQLite that
would stop every other writer. A relay that dies leaves its lease to end; the rows are then sent by another, some of
them for the second time, under the same ids.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, Engine, Row, and_, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from warren.errors import QueueFull, Unroutable, WarrenError
from warren.producer import Producer
from warren.sql import outbox as rows
from warren.sql.tables import outbox

logger = logging.getLogger(__name__)

DEFAULT_BATCH: Final = 500
DEFAULT_POLL_SECONDS: Final = 0.5
LEASE_SECONDS: Final = 30.0
"""Longer than a producer takes to send a batch and to be told; a row whose relay died waits this long."""
_REST_SECONDS: Final = (1, 2, 5, 15, 60, 300)
"""How long a job rests that the broker refuses, by its tries: its queue is missing or full."""
_BACK_OFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0)


class Relay:
    """Sends jobs from an outbox; any number of relays, in any number of processes, share the work.

    Args:
        engine: The database with the outbox.
        producer: Sends them; started and stopped by the caller.
        batch: Most jobs sent at a time.
        poll_seconds: How long to wait when there is nothing to send.
        lease_seconds: How long a relay has the rows it took to itself; longer than its producer's timeout.
    """

    def __init__(
        self,
        engine: Engine,
        producer: Producer,
        *,
        batch: int = DEFAULT_BATCH,
        poll_seconds: float = DEFAULT_POLL_SECONDS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._engine = engine
        self._producer = producer
        self._batch = batch
        self._poll_seconds = poll_seconds
        self._lease_ms = int(lease_seconds * 1000)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._trouble: str | None = "nothing was sent yet"

    @property
    def trouble(self) -> str | None:
        """Why nothing can be sent now, or None."""
        return self._trouble

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Send on a thread of its own until stopped. Idempotent."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._run, name="warren-relay", daemon=True)
            self._thread.start()

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """Finish the batch at hand and stop. Idempotent, safe before `start`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            thread.join(timeout_seconds)

    def run_once(self) -> int:
        """Send one batch.

        Returns:
            How many jobs were sent, 0 when there are none to send.

        Raises:
            SQLAlchemyError: The database failed.
            WarrenError: The broker takes nothing now; the jobs stay.
        """
        lease = str(uuid4())
        now_ms = _now_ms()
        with self._engine.begin() as connection:
            taken = _take(connection, lease, now_ms, self._lease_ms, self._batch)
        if not taken:
            return 0
        outcomes = self._producer.publish([rows.read(row, now_ms) for row in taken])
        with self._engine.begin() as connection:
            _settle(connection, lease, taken, outcomes)
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, Unroutable | QueueFull):
                raise outcome
        return outcomes.count(None)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                sent = self.run_once()
            except (SQLAlchemyError, WarrenError) as error:
                pause = _BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)]
                failures += 1
                self._trouble = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                if failures == 1:
                    logger.warning("cannot relay jobs: %s; trying on", self._trouble, extra={"event": "relay_failed"})
            else:
                if failures:
                    logger.info("relaying jobs again", extra={"event": "relay_back"})
                failures, self._trouble = 0, None
                pause = 0 if sent else self._poll_seconds
            self._stopping.wait(pause)


def _take(connection: Connection, lease: str, now_ms: int, lease_ms: int, most: int) -> Sequence[Row[Any]]:
    """Lease the oldest free rows, and return them in order."""
    # SQLite has no SKIP LOCKED and SQLAlchemy leaves it out there: an UPDATE locks the whole database for its moment.
    free = (
        select(outbox.c.position)
        .where(outbox.c.leased_ms <= now_ms)
        .order_by(outbox.c.position)
        .limit(most)
        .with_for_update(skip_locked=True)
        # Evaluated once; as a plain subquery PostgreSQL may do it again for each row, and lock more than the limit.
        .cte("free")
    )
    mine = outbox.c.position.in_(select(free.c.position))
    connection.execute(update(outbox).where(mine).values(lease=lease, leased_ms=now_ms + lease_ms))
    return connection.execute(select(outbox).where(outbox.c.lease == lease).order_by(outbox.c.position)).all()


def _settle(
    connection: Connection, lease: str, taken: Sequence[Row[Any]], outcomes: Sequence[Exception | None]
) -> None:
    """Delete what the broker has, let rest what it refuses, and free the others."""
    sent = [row.position for row, outcome in zip(taken, outcomes, strict=True) if outcome is None]
    if sent:
        connection.execute(delete(outbox).where(outbox.c.position.in_(sent)))
    for row, outcome in zip(taken, outcomes, strict=True):
        if isinstance(outcome, Unroutable | QueueFull):
            rest_seconds = _REST_SECONDS[min(row.tries, len(_REST_SECONDS) - 1)]
            kept = and_(outbox.c.position == row.position, outbox.c.lease == lease)
            error = f"{type(outcome).__name__}: {outcome}"
            values = {"tries": row.tries + 1, "error": error, "leased_ms": _now_ms() + rest_seconds * 1000}
            connection.execute(update(outbox).where(kept).values(**values, lease=None))
            logger.warning(
                "job %s stays in the outbox: %s", row.job, error, extra={"event": "relay_refused", "job": row.job}
            )
    connection.execute(update(outbox).where(outbox.c.lease == lease).values(lease=None, leased_ms=0))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
