"""Keeps ended jobs for as long as they are wanted, and no longer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from warren_server.store.retention import BATCH, RetentionStore

logger = logging.getLogger(__name__)

_DAY_MS: Final = 86_400_000
MOST: Final = 100 * BATCH
"""Jobs forgotten in one go: the writers of a SQLite file take turns, so others get theirs in between."""


class Retention:
    """Forgets jobs by their age.

    Args:
        store: Where they are.
        keep_days: Days they are kept after their end; 0 keeps them for ever.
        now_ms: The time, injected so that tests can set it.
    """

    def __init__(
        self,
        store: RetentionStore,
        keep_days: float,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._keep_days = keep_days
        self._now_ms = now_ms

    def look(self) -> int:
        """Forget what is too old, and return how many jobs that were.

        Raises:
            StoreError: The store is away; what was forgotten so far is forgotten.
        """
        if not self._keep_days:
            return 0
        before_ms = self._now_ms() - int(self._keep_days * _DAY_MS)
        forgotten = 0
        while forgotten < MOST and (gone := self._store.forget(before_ms)):
            forgotten += gone
        if forgotten:
            logger.info("forgot %d jobs that ended long ago", forgotten, extra={"event": "jobs_forgotten"})
        return forgotten
