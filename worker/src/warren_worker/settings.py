"""Settings of the worker."""

from __future__ import annotations

import math
import os
import socket
from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from warren.envelope import QUEUE_NAME
from warren.settings import Settings

MAX_PRIORITY: Final = 1000


class WorkerSettings(Settings):
    """How much a worker does at once, and for which queues."""

    model_config = SettingsConfigDict(env_prefix="WARREN_WORKER_")

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 10
    """Attempts that run at once, in threads, coroutines and child processes together. Default 10."""
    prefetch: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Jobs held at a time, running ones included, per queue. Default 0: concurrency and a quarter more, so that no slot
    waits for the broker and few jobs wait behind a long one."""
    queues: str = ""
    """Queues to work on, separated by commas. `name=10` gives one a priority, 0 to 1000: jobs of a higher one start
    first; a limit set on the server wins. Default: the queues of the known tasks, those for large jobs too, all with
    priority 0."""
    name: str = ""
    """Name of this worker in events, dead letters and logs. Default: host name and process id."""
    image: Annotated[str, Field(max_length=255)] = ""
    """Image this worker runs, told in its dead letters, so that they show which release failed. No default."""
    once: bool = False
    """Run one job and end, with exit status 0: for one pod to a job. It is held alone, whatever concurrency and
    prefetch say. Default off; `--once` switches it on."""
    once_wait_seconds: Annotated[float, Field(ge=1, le=86400)] = 60.0
    """How long such a worker waits for a job before it ends without one. Default 60 s: another may have taken it."""

    @field_validator("queues")
    @classmethod
    def _queues_are_names(cls, value: str) -> str:
        for name, priority in map(_read_queue, split(value)):
            if not QUEUE_NAME.fullmatch(name):
                raise ValueError(f"queue {name!r:.100} must match {QUEUE_NAME.pattern}")
            if not priority.isdecimal() or int(priority) > MAX_PRIORITY:
                raise ValueError(f"priority {priority!r:.100} of queue {name} must be 0 to {MAX_PRIORITY}")
        return value

    @property
    def priorities(self) -> dict[str, int]:
        """The queues named here, in order, each with its priority."""
        return {name: int(priority) for name, priority in map(_read_queue, split(self.queues))}

    @property
    def held(self) -> int:
        """Jobs held at a time per queue, with the default worked out."""
        return 1 if self.once else self.prefetch or self.concurrency + math.ceil(self.concurrency / 4)

    @property
    def slots(self) -> int:
        """Jobs run at once, with `once` taken into account."""
        return 1 if self.once else self.concurrency

    @property
    def worker(self) -> str:
        """Name of this worker, with the default worked out."""
        return self.name or f"{socket.gethostname()}-{os.getpid()}"


def split(names: str) -> list[str]:
    """Return the parts of a comma-separated list, without blanks."""
    return [part for part in (piece.strip() for piece in names.split(",")) if part]


def _read_queue(part: str) -> tuple[str, str]:
    """Split `name=priority`."""
    name, _, priority = part.partition("=")
    return name.strip(), priority.strip() or "0"
