"""Runs a program of ours that dies by SIGKILL at one point of its code, the n-th time it comes there.

`python -m failpoints warren_worker` with `FAILPOINT=effect-before-publish` and `FAILPOINT_HITS=100`. The points are
methods wrapped here; the programs know nothing of them. A method that is gone stops the program with an error, so that
no test goes on without its fault.
"""

from __future__ import annotations

import importlib
import itertools
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of the code.

    Attributes:
        method: `module:Class.method`.
        when: Die before the method does anything, or after it has returned.
        whole: Kill the parent too: a server's requests are answered by children of the process that was started.
    """

    method: str
    when: Literal["before", "after"]
    whole: bool = False


POINTS = {
    # The server has sent the job; neither the broker's confirm nor the 202 have come.
    "publish-before-confirm": Point(method="warren_server.submit:Submitter._await", when="before", whole=True),
    # The broker has the job safe; neither the row nor the 202 are there.
    "confirm-before-row": Point(method="warren_server.store.writer:Writer.record", when="before", whole=True),
    # 202 was answered without the row, because the store is away; the row is in memory only.
    "answer-before-row": Point(method="warren_server.submit:Submitter.submit_many", when="before", whole=True),
    # The task has had its effect; nothing is published.
    "effect-before-publish": Point(method="warren_worker.settler:Settler.carry_out", when="before"),
    # What follows is confirmed; the delivery is not acknowledged.
    "publish-before-ack": Point(method="warren_worker.settler:Settler._finish", when="before"),
}


def arm(name: str, hits: int) -> None:
    """Wrap the method of a point so that its n-th call is the last."""
    point = POINTS[name]
    module, _, path = point.method.partition(":")
    class_name, _, method_name = path.partition(".")
    owner = getattr(importlib.import_module(module), class_name)
    setattr(owner, method_name, _dying(getattr(owner, method_name), hits, point))
    if name == "answer-before-row":
        _take_store_away()


def _dying(method: Callable[..., Any], hits: int, point: Point) -> Callable[..., Any]:
    calls = itertools.count(1)

    def dying(*arguments: Any, **named: Any) -> Any:
        strikes = next(calls) == hits
        if strikes and point.when == "before":
            _die(point)
        result = method(*arguments, **named)
        if strikes:
            _die(point)
        return result

    return dying


def _die(point: Point) -> None:
    if point.whole:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _take_store_away() -> None:
    """Let no submit be recorded, as a store that cannot be reached does."""
    from warren_server.errors import StoreDown
    from warren_server.store.jobs import JobStore

    def record(_store: JobStore, _events: object) -> None:
        raise StoreDown("taken away by a failpoint")

    JobStore.record = record  # type: ignore[method-assign]


if __name__ == "__main__":
    program = sys.argv[1]
    # The server sets this before it first imports prometheus_client, and arming imports that earlier.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=Path.cwd())
    sys.argv = [program]
    arm(os.environ["FAILPOINT"], int(os.environ["FAILPOINT_HITS"]))
    runpy.run_module(program, run_name="__main__", alter_sys=True)
