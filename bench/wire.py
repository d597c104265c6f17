"""The message of the contenders that are only a client: a task's name and its arguments, as JSON."""

from __future__ import annotations

import json
from typing import Any, Final

from bench.contender import Arguments
from bench.work import TASKS

QUEUE_ARGUMENTS: Final = {"x-queue-type": "quorum"}
WINDOW: Final = 2000
"""Publishes under way at a time."""


def encode(task: str, arguments: Arguments) -> bytes:
    """Write a job."""
    return json.dumps({"task": task, "arguments": arguments}, separators=(",", ":")).encode()


def run(body: bytes) -> None:
    """Read a job and do it."""
    job: dict[str, Any] = json.loads(body)
    TASKS[job["task"]](**job["arguments"])
