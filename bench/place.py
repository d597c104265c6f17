"""Where a contender works: told to its processes by the environment. Standard library only."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "BENCH_PLACE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A virtual host of the contender's own, and a folder of the run's own.

    Attributes:
        amqp_url: The broker, with login and virtual host.
        management_url: Its management API, with login.
        folder: Where the run's records, logs and stores go.
        http_port: A free port for whoever listens.
        store_url: Where results are recorded; empty for the contender's default in `folder`.
        began_ms: When the run began, milliseconds since the epoch; a store may hold results of earlier runs.
    """

    amqp_url: str
    management_url: str
    folder: str
    http_port: int = 0
    store_url: str = ""
    began_ms: int = 0

    @property
    def records(self) -> Path:
        """Folder of the counts that tasks keep."""
        return Path(self.folder) / "records"

    @property
    def environment(self) -> dict[str, str]:
        """The variable that tells it to a process."""
        return {VARIABLE: json.dumps(asdict(self))}


def here() -> Place:
    """Return the place this process was started for."""
    return Place(**json.loads(os.environ[VARIABLE]))
