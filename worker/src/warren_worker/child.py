"""The child process: `python -m warren_worker.child FD MODULES`, started by `warren_worker.process` only.

It says `ready`, then runs one job after the other on its main thread. It dies with its parent.
"""

from __future__ import annotations

import base64
import ctypes
import os
import resource
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any, Final

from warren.envelope import Envelope
from warren.logs import configure_logs
from warren.settings import LogSettings, load
from warren.task import Registry, load_tasks
from warren_worker import execute
from warren_worker.frames import Frames
from warren_worker.job import Job, context_for
from warren_worker.outcome import Outcome

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str]) -> None:
    """Serve jobs from the socket until the parent closes it."""
    parent = os.getppid()
    _die_with_parent()
    if os.getppid() != parent:
        sys.exit(1)
    configure_logs(load(LogSettings), child=str(os.getpid()))
    registry = load_tasks(arguments[1])
    frames = Frames(socket.socket(fileno=int(arguments[0])))
    Server(frames, registry).serve()


class Server:
    """Runs the jobs that come in; a second thread listens, so that a cancel reaches a running job."""

    def __init__(self, frames: Frames, registry: Registry) -> None:
        self._frames = frames
        self._registry = registry
        self._jobs: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Run jobs until the parent is gone."""
        threading.Thread(target=self._listen, name="warren-listen", daemon=True).start()
        self._send({"kind": "ready"})
        while (frame := self._jobs.get()) is not None:
            self._cancelled.clear()
            outcome = self._run(frame)
            self._send({"kind": "outcome", "type": type(outcome).__name__, "value": asdict(outcome)})

    def _run(self, frame: dict[str, Any]) -> Outcome:
        job = self._job(frame)
        context = context_for(
            job,
            deadline_ms=round((time.time() + job.timeout_seconds) * 1000),
            on_progress=lambda fraction, message: self._send({"kind": "progress", "value": [fraction, message]}),
            on_checkpoint=lambda text: self._send({"kind": "checkpoint", "value": text}),
            is_cancelled=self._cancelled.is_set,
        )
        with MemoryLimit(job.memory_limit_mb):
            return execute.run(job, context)

    def _job(self, frame: dict[str, Any]) -> Job:
        envelope = Envelope(**{**frame["envelope"], "body": base64.b64decode(frame["body"])})
        task = self._registry.get(envelope.task)
        told = {name: frame[name] for name in ("attempt", "redelivered", "starts")}
        return Job(envelope=envelope, task=task, **told)

    def _listen(self) -> None:
        while (frame := self._frames.receive()) is not None:
            if frame["kind"] == "cancel":
                self._cancelled.set()
            else:
                self._jobs.put(frame)
        # The parent is gone or wants us gone; a job on the main thread is not waited for.
        os._exit(0)

    def _send(self, frame: dict[str, Any]) -> None:
        with self._lock:
            self._frames.send(frame)


class MemoryLimit:
    """Limits this process's address space while a job runs; without a limit does nothing.

    Args:
        mebibytes: The limit of the whole address space, interpreter and imports included.
    """

    def __init__(self, mebibytes: int | None) -> None:
        self._mebibytes = mebibytes
        self._before = resource.getrlimit(resource.RLIMIT_AS)

    def __enter__(self) -> None:
        if self._mebibytes is not None:
            hard = self._before[1]
            wanted = self._mebibytes * 1024 * 1024
            resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))

    def __exit__(self, *_exc: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self._before)


def _die_with_parent() -> None:
    # Linux only; elsewhere the end of the socket does the same, a moment later.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
