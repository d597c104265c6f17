"""A fleet of workers as child processes of this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from warren.errors import LocalStackError
from warren.local.ports import free_port
from warren.local.processes import Child
from warren.status import WorkerStatus, decode_status
from warren_scaler.fleet import Member

logger = logging.getLogger(__name__)

EARLY_SECONDS: Final = 10.0
"""A worker that ends sooner than this after its start did not come up."""
_PAUSE_MAX_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 0.5


@dataclass(slots=True, kw_only=True, eq=False)
class _Worker:
    name: str
    child: Child
    started_at: float
    status_url: str
    draining: bool = False


class LocalFleet:
    """Workers as child processes, each with a name and a log of its own.

    A worker that ended unasked is forgotten, so that the loop replaces it; when workers end right after their start,
    the next start waits, doubling from one second. Call from the main thread only: the kernel ties a child to the
    thread that started it.

    Args:
        command: What runs a worker.
        environment: The whole environment of a worker; its name and its probe port are added.
        log_folder: Where the logs go.
        clock: Seconds that never go back, injected so tests can set them.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._log_folder = log_folder
        self._clock = clock
        self._workers: list[_Worker] = []
        # A proxy is for the world outside.
        self._http = httpx.Client(timeout=_ANSWER_SECONDS, trust_env=False)
        self._started = 0
        self._early_ends = 0
        self._not_before = 0.0

    def members(self) -> list[Member]:
        """Tell the workers, oldest first, after forgetting those that ended."""
        ended = [worker for worker in self._workers if not worker.child.running]
        self._workers = [worker for worker in self._workers if worker not in ended]
        for worker in ended:
            if not worker.draining:
                self._lost(worker.child, worker.started_at)
        return [
            Member(name=worker.name, draining=worker.draining, status=self._status(worker)) for worker in self._workers
        ]

    def grow(self, count: int) -> int:
        """Start workers, unless the last ones did not come up a moment ago."""
        if self._clock() < self._not_before:
            return 0
        for _ in range(count):
            self._started += 1
            self._start(f"local-{self._started}")
        return count

    def drain(self, names: Collection[str]) -> None:
        """Tell workers to finish and end."""
        for worker in self._workers:
            if worker.name in names and not worker.draining:
                worker.draining = True
                worker.child.terminate()

    def stop(self, timeout_seconds: float) -> None:
        """Drain all workers and wait for them.

        Raises:
            LocalStackError: Some had to be killed after the timeout.
        """
        self.drain([worker.name for worker in self._workers])
        deadline = self._clock() + timeout_seconds
        children = [worker.child for worker in self._workers]
        late = [child for child in children if not child.wait(max(0.0, deadline - self._clock()))]
        for child in late:
            child.kill()
        self._workers = []
        if late:
            names = ", ".join(child.name for child in late)
            raise LocalStackError(f"{names} did not end within {timeout_seconds:g} s: killed")

    def close(self) -> None:
        """Close the connections to workers. Idempotent."""
        self._http.close()

    def _start(self, name: str) -> None:
        address = f"127.0.0.1:{free_port()}"
        child = Child(
            f"worker {name}",
            self._command,
            log=self._log_folder / f"worker-{name}.log",
            environment=self._environment | {"WARREN_WORKER_NAME": name, "WARREN_PROBE_BIND": address},
        )
        child.start()
        self._workers.append(
            _Worker(name=name, child=child, started_at=self._clock(), status_url=f"http://{address}/status")
        )

    def _status(self, worker: _Worker) -> WorkerStatus | None:
        """Ask a worker; None while it starts, or when it is too busy to answer."""
        try:
            answer = self._http.get(worker.status_url)
            status = decode_status(answer.content)
        except (httpx.HTTPError, ValueError):
            return None
        # Another program may have taken the port; it is not this worker that would be let go.
        return status if status.worker == worker.name else None

    def _lost(self, child: Child, started_at: float) -> None:
        logger.error("%s", child.ended(), extra={"event": "worker_lost", "status": child.returncode})
        if self._clock() - started_at >= EARLY_SECONDS:
            self._early_ends = 0
            return
        self._early_ends += 1
        self._not_before = self._clock() + min(_PAUSE_MAX_SECONDS, 2.0 ** (self._early_ends - 1))
