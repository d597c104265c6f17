"""A fleet of workers as child processes of this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from warren.errors import LocalStackError
from warren.local.processes import Child
from warren_scaler.fleet import Size

logger = logging.getLogger(__name__)

EARLY_SECONDS: Final = 10.0
"""A worker that ends sooner than this after its start did not come up."""
_PAUSE_MAX_SECONDS: Final = 30.0


class LocalFleet:
    """Workers as child processes, each with a name and a log of its own.

    A worker that ended unasked is forgotten, so that the loop replaces it; when workers end right after their start,
    the next start waits, doubling from one second. Call from the main thread only: the kernel ties a child to the
    thread that started it.

    Args:
        command: What runs a worker.
        environment: The whole environment of a worker; its name is added.
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
        self._active: dict[Child, float] = {}
        self._draining: list[Child] = []
        self._started = 0
        self._early_ends = 0
        self._not_before = 0.0

    def size(self) -> Size:
        """Count the workers, after forgetting those that ended."""
        self._draining = [child for child in self._draining if child.running]
        for child in [child for child in self._active if not child.running]:
            self._lost(child, self._active.pop(child))
        return Size(active=len(self._active), draining=len(self._draining))

    def grow(self, count: int) -> int:
        """Start workers, unless the last ones did not come up a moment ago."""
        if self._clock() < self._not_before:
            return 0
        for _ in range(count):
            self._started += 1
            name = f"local-{self._started}"
            child = Child(
                f"worker {name}",
                self._command,
                log=self._log_folder / f"worker-{name}.log",
                environment=self._environment | {"WARREN_WORKER_NAME": name},
            )
            child.start()
            self._active[child] = self._clock()
        return count

    def drain(self, count: int) -> None:
        """Tell the youngest workers to finish and end: the oldest have the warmest caches."""
        for child in sorted(self._active, key=lambda child: self._active[child])[len(self._active) - count :]:
            del self._active[child]
            child.terminate()
            self._draining.append(child)

    def stop(self, timeout_seconds: float) -> None:
        """Drain all workers and wait for them.

        Raises:
            LocalStackError: Some had to be killed after the timeout.
        """
        self.drain(len(self._active))
        deadline = self._clock() + timeout_seconds
        late = [child for child in self._draining if not child.wait(max(0.0, deadline - self._clock()))]
        for child in late:
            child.kill()
        self._draining = []
        if late:
            names = ", ".join(child.name for child in late)
            raise LocalStackError(f"{names} did not end within {timeout_seconds:g} s: killed")

    def _lost(self, child: Child, started_at: float) -> None:
        logger.error("%s", child.ended(), extra={"event": "worker_lost", "status": child.returncode})
        if self._clock() - started_at >= EARLY_SECONDS:
            self._early_ends = 0
            return
        self._early_ends += 1
        self._not_before = self._clock() + min(_PAUSE_MAX_SECONDS, 2.0 ** (self._early_ends - 1))
