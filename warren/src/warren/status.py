"""What a worker tells of itself at `/status` on its probe port: scalers choose by it whom to let go."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker at one moment.

    Attributes:
        worker: Its name, as orders address it.
        concurrency: Jobs it runs at once.
        running: Jobs that have a slot.
        waiting: Jobs it holds that wait for one.
        oldest_job_seconds: How long the oldest running job has run, 0 without one.
        draining: It takes no work: it was told so, or it ends. Drained when nothing runs any more.
        ended: Runs that ended since it started, but for those it gave back.
        ended_seconds: How long they took, all together.
    """

    worker: str
    concurrency: int
    running: int
    waiting: int
    oldest_job_seconds: float
    draining: bool
    ended: int = 0
    ended_seconds: float = 0.0

    @property
    def held(self) -> int:
        """Jobs that were handed out to it."""
        return self.running + self.waiting

    @property
    def drained(self) -> bool:
        """Whether it can be let go without interrupting or delaying a job."""
        return self.draining and not self.held


def encode_status(status: WorkerStatus) -> bytes:
    """Pack a status as JSON."""
    return json.dumps(asdict(status), separators=(",", ":")).encode()


def decode_status(body: bytes) -> WorkerStatus:
    """Unpack a status; fields this program does not know, from a newer release, are passed over.

    Raises:
        ValueError: It is none.
    """
    try:
        told = json.loads(body)
        return WorkerStatus(
            worker=_typed(told, "worker", str),
            concurrency=_typed(told, "concurrency", int),
            running=_typed(told, "running", int),
            waiting=_typed(told, "waiting", int),
            oldest_job_seconds=_typed(told, "oldest_job_seconds", float, int),
            draining=_typed(told, "draining", bool),
            ended=_typed({"ended": 0} | told, "ended", int),
            ended_seconds=_typed({"ended_seconds": 0} | told, "ended_seconds", float, int),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"not a worker's status: {error!r:.100} in {body!r:.200}") from error


def _typed(told: Any, name: str, *kinds: type) -> Any:
    if type(told[name]) not in kinds:
        raise TypeError(f"{name} is {told[name]!r:.50}, must be {' or '.join(kind.__name__ for kind in kinds)}")
    return told[name]
