"""Workers: what they run, and telling them to drain."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from warren.control import Drain, Undrain
from warren.errors import Problem
from warren_server.announcer import Announcer
from warren_server.api.problems import Refusal
from warren_server.store.fold import Row
from warren_server.store.workers import WorkerStore

logger = logging.getLogger(__name__)

MAX_NAME: Final = 255
"""As long as orders may name them."""
_RUNNING: Final = 1000
_LOOKED_AT: Final = 2000
_SUBJECT: Final = "drain:"
_KEPT_MS: Final = 7 * 86_400_000
"""A worker that was told to drain is gone by then; one that starts takes a name of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as its events tell of it.

    Attributes:
        name: Its name.
        running: Jobs that run on it, the longest running first: id, task, queue, attempt and started_ms.
        seen_ms: When it was last heard of; None when that is longer ago than the jobs that are looked at.
        draining: It was told to drain here.
    """

    name: str
    running: Sequence[Row] = field(default_factory=tuple)
    seen_ms: int | None = None
    draining: bool = False


class Workers:
    """Lists workers and tells them to drain.

    Args:
        store: What is known of them.
        announcer: Tells them.
    """

    def __init__(self, store: WorkerStore, announcer: Announcer) -> None:
        self._store = store
        self._announcer = announcer

    def all(self) -> list[Worker]:
        """Return the workers that run something, or ran one of the jobs submitted last, by name.

        Raises:
            StoreError: The store is away.
        """
        running: dict[str, list[Row]] = {}
        for row in self._store.running(_RUNNING):
            if row["worker"]:
                running.setdefault(row["worker"], []).append(row)
        seen = {row["worker"]: row["at_ms"] for row in self._store.seen(_LOOKED_AT)}
        names = sorted({*running, *seen})
        draining = self._draining(names)
        return [
            Worker(name=name, running=running.get(name, []), seen_ms=seen.get(name), draining=name in draining)
            for name in names
        ]

    def drain(self, worker: str) -> None:
        """Tell a worker to finish what it runs and take no more. Saying it twice is harmless.

        Raises:
            Refusal: No worker can have that name.
            TransportError: The broker did not take the order.
            StoreError: It was given, but cannot be noted.
        """
        _check(worker)
        self._announcer.announce(Drain(workers=(worker,)), _subject(worker), _now_ms() + _KEPT_MS)
        logger.info("worker %r is told to drain", worker, extra={"event": "worker_draining", "worker": worker})

    def undrain(self, worker: str) -> None:
        """Tell a worker to take work again. Saying it twice is harmless.

        Raises:
            Refusal: No worker can have that name.
            StoreError: The order to drain cannot be forgotten; nothing was sent.
            TransportError: The broker did not take the order.
        """
        _check(worker)
        self._announcer.withdraw(_subject(worker), Undrain(workers=(worker,)))
        logger.info("worker %r is told to go on", worker, extra={"event": "worker_undraining", "worker": worker})

    def _draining(self, names: Sequence[str]) -> set[str]:
        orders: list[dict[str, Any]] = [
            json.loads(body) for body in self._store.told([_subject(name) for name in names])
        ]
        return {name for order in orders for name in order["workers"]}


def _check(worker: str) -> None:
    if not 0 < len(worker) <= MAX_NAME or not worker.isprintable():
        message = f"is {worker!r:.80}, must be a worker's name: at most {MAX_NAME} printable characters"
        raise Refusal(
            "invalid-request", f"worker {message}", problems=[Problem(field="worker", rule="name", message=message)]
        )


def _subject(worker: str) -> str:
    """Name the subject, which has less room than a name may take."""
    return _SUBJECT + hashlib.sha256(worker.encode("utf-8", "surrogatepass")).hexdigest()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
