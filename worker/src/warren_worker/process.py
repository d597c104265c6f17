"""Child processes, the parent's side: warm children, hard time limits, and what is said of one that died."""

from __future__ import annotations

import base64
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any, Final, TypeGuard
from uuid import uuid4

from warren.events import ErrorInfo
from warren_worker import cgroups
from warren_worker.descendants import MARK, kill_all
from warren_worker.frames import Frames
from warren_worker.job import Job, Run
from warren_worker.outcome import (
    Cancelled,
    Crashed,
    Discarded,
    Failed,
    Invalid,
    Outcome,
    OutOfMemory,
    RetryAsked,
    Succeeded,
    TimedOut,
    timeout_error,
)

logger = logging.getLogger(__name__)

START_SECONDS: Final = 60.0
"""How long a child may take to import the tasks; not part of any job's time."""
_OUTCOMES: Final[dict[str, Callable[..., Outcome]]] = {
    kind.__name__: kind for kind in (Succeeded, Cancelled, Failed, RetryAsked, Discarded, Invalid, TimedOut)
}


class Children:
    """Runs jobs in child processes, one at a time in each; idle children are used again.

    Args:
        modules: Modules that declare the tasks, as in `WARREN_TASKS`.
        oom_kills: Tells how many of our processes the kernel ever killed for memory.
    """

    def __init__(self, modules: str, oom_kills: Callable[[], int | None] = cgroups.oom_kills) -> None:
        self._modules = modules
        self._oom_kills = oom_kills
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._starter = _Starter()
        self._stopped = False

    def run(self, run: Run) -> Outcome:
        """Run a job in a child and wait for its outcome."""
        child = self._take()
        if child is None:
            return _crashed("no child process could be started: the worker is stopping")
        run.attach(ask=child.cancel, stop=child.kill)
        kills_before = self._oom_kills()
        try:
            outcome = child.run(run)
        finally:
            run.detach()
        self._give_back(child, worn=_is_memory_error(outcome))
        if isinstance(outcome, Crashed) and child.killed_by == signal.SIGKILL:
            return _blamed(outcome, kills_before, self._oom_kills())
        limit_mb = run.job.memory_limit_mb
        return OutOfMemory(error=outcome.error) if limit_mb and _is_memory_error(outcome) else outcome

    def stop(self) -> None:
        """Kill every child and all they started. Idempotent."""
        with self._lock:
            self._stopped = True
            children, idle = list(self._all), self._idle
            self._idle = []
        for child in children:
            child.kill()
        for child in idle:
            child.close()
        self._starter.stop()

    def _take(self) -> Child | None:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        child = Child(self._starter.call(lambda: _spawn(self._modules)))
        with self._lock:
            self._all.add(child)
            if not self._stopped:
                return child
        self._give_back(child, worn=True)
        return None

    def _give_back(self, child: Child, *, worn: bool) -> None:
        """Keep a child for the next job, unless it died or ran out of memory, which leaves it in pieces."""
        if worn:
            child.kill()
        with self._lock:
            if child.alive and not self._stopped:
                self._idle.append(child)
                return
            self._all.discard(child)
        child.close()


class Child:
    """One child process.

    Args:
        spawned: The process, our end of its socket, and the mark of all it starts.

    Attributes:
        alive: It can run jobs.
        killed_by: Number of the signal that ended it while it ran a job, if one did that was not ours.
    """

    def __init__(self, spawned: tuple[subprocess.Popen[bytes], socket.socket, str]) -> None:
        self._process, self._socket, self._mark = spawned
        self._frames = Frames(self._socket)
        self._lock = threading.Lock()
        self._ready = False
        self.alive = True
        self.killed_by: int | None = None

    def run(self, run: Run) -> Outcome:
        """Run a job; the child is dead afterwards if the job crashed it or outlived its timeout."""
        try:
            if not self._ready and self._frames.receive(START_SECONDS) is None:
                return self._died("while it started")
            self._ready = True
        except TimeoutError:
            self.kill()
            return _crashed(f"the child process did not start within {START_SECONDS:g} s")
        try:
            self._send(_job_frame(run.job))
        except OSError:
            return self._died("before the job began")
        return self._follow(run)

    def cancel(self) -> None:
        """Tell the job in the child to stop."""
        with suppress(OSError):  # a child that is gone has stopped
            self._send({"kind": "cancel"})

    def kill(self) -> None:
        """Kill the child and all it started. Idempotent."""
        with self._lock:
            killed, self.alive = not self.alive, False
        if not killed:
            kill_all(self._process.pid if self._process.poll() is None else None, self._mark)
            # Where there is no /proc: those that stayed in its process group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Kill the child and let go of the socket; only when no job is followed any more."""
        self.kill()
        self._socket.close()

    def _follow(self, run: Run) -> Outcome:
        end = time.monotonic() + run.job.timeout_seconds
        while True:
            try:
                frame = self._frames.receive(max(end - time.monotonic(), 0.001))
            except TimeoutError:
                self.kill()
                return TimedOut(error=timeout_error(run.job.timeout_seconds))
            if frame is None:
                return self._died("while it ran the job")
            if frame["kind"] == "outcome":
                return _read_outcome(frame)
            _take_report(run, frame)

    def _send(self, frame: dict[str, Any]) -> None:
        with self._lock:
            self._frames.send(frame)

    def _died(self, when: str) -> Outcome:
        with suppress(subprocess.TimeoutExpired):
            # Its socket closes a moment before it is gone; killed now, it would seem to have died of that.
            self._process.wait(5)
        status = self._process.poll()
        if status is not None and status < 0:
            self.killed_by = -status
        self.kill()
        return _crashed(f"the child process {_cause(status)} {when}")


class _Starter:
    """The one thread that starts children: they are to die when their parent *thread* does (`PR_SET_PDEATHSIG`)."""

    def __init__(self) -> None:
        self._wanted: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def call(self, spawn: Callable[[], Any]) -> Any:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="warren-children", daemon=True)
                self._thread.start()
        result: Future[Any] = Future()
        self._wanted.put((spawn, result))
        return result.result()

    def stop(self) -> None:
        self._wanted.put(None)

    def _work(self) -> None:
        while (wish := self._wanted.get()) is not None:
            spawn, result = wish
            try:
                result.set_result(spawn())
            except OSError as error:
                result.set_exception(error)


def _spawn(modules: str) -> tuple[subprocess.Popen[bytes], socket.socket, str]:
    ours, theirs = socket.socketpair()
    mark = uuid4().hex
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "warren_worker.child", str(theirs.fileno()), modules],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env={**os.environ, MARK: mark},
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours, mark


def _job_frame(job: Job) -> dict[str, Any]:
    envelope = asdict(job.envelope)
    body = base64.b64encode(envelope.pop("body")).decode()
    return {
        "kind": "job",
        "envelope": envelope,
        "body": body,
        "attempt": job.attempt,
        "redelivered": job.redelivered,
        "starts": job.starts,
    }


def _read_outcome(frame: dict[str, Any]) -> Outcome:
    value = dict(frame["value"])
    if "error" in value:
        value["error"] = ErrorInfo(**value["error"])
    return _OUTCOMES[frame["type"]](**value)


def _take_report(run: Run, frame: dict[str, Any]) -> None:
    if frame["kind"] == "checkpoint":
        run.save_state(frame["value"])
    elif frame["kind"] == "progress":
        run.tell_progress(*frame["value"])


def _is_memory_error(outcome: Outcome) -> TypeGuard[Failed]:
    return isinstance(outcome, Failed) and outcome.error.type == "MemoryError"


def _blamed(outcome: Crashed, kills_before: int | None, kills_after: int | None) -> Outcome:
    """Say what a child that was killed by SIGKILL died of, by the kernel's counts of kills for memory."""
    if kills_before is None or kills_after is None or kills_after <= kills_before:
        return outcome
    error = ErrorInfo(
        type="warren_worker.OutOfMemory", message=f"{outcome.error.message}: the kernel killed it for memory"
    )
    return OutOfMemory(error=error)


def _crashed(message: str) -> Crashed:
    return Crashed(error=ErrorInfo(type="warren_worker.Crashed", message=message))


def _cause(status: int | None) -> str:
    if status is None:
        return "closed its connection"
    if status >= 0:
        return f"exited with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
    return f"was killed by signal {-status} ({name})"
