"""Where runs run: threads, one event loop, child processes. Never the transport's thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias

from warren_worker import execute
from warren_worker.job import Run
from warren_worker.limit import ThreadLimit
from warren_worker.outcome import Failed, Outcome, describe, not_begun
from warren_worker.process import Children
from warren_worker.timers import Timers

logger = logging.getLogger(__name__)

Done: TypeAlias = Callable[[Run, Outcome], None]


class Pools:
    """Starts runs by the isolation of their task; each ends in one call of `done`, on the thread it ran on.

    Args:
        timers: Keeper of the time limits of threads.
        children: Child processes for tasks with `isolation="process"`.
        done: Told of every outcome.
    """

    def __init__(self, timers: Timers, children: Children, done: Done) -> None:
        self._timers = timers
        self._children = children
        self._done = done
        self._threads = ThreadPool(self._on_thread)
        self._loop = LoopThread(self._on_loop)

    def start(self, run: Run) -> None:
        """Start a run and return at once."""
        if run.job.task.isolation == "asyncio":
            self._loop.submit(run)
        else:
            self._threads.submit(run)

    def stop(self) -> None:
        """Kill the children and let idle threads end; runs still on a thread or the loop are left to the process."""
        self._children.stop()
        self._threads.stop()
        self._loop.stop()

    def _on_thread(self, run: Run) -> None:
        try:
            outcome = not_begun() if run.stopped else self._run(run)
        except Exception as error:  # noqa: BLE001 - logged; a slot must never be lost
            outcome = _not_run(run, error)
        self._done(run, outcome)

    def _run(self, run: Run) -> Outcome:
        if run.job.task.isolation == "process":
            return self._children.run(run)
        return ThreadLimit(self._timers, run.job).run(lambda: execute.run(run.job, run.context()))

    async def _on_loop(self, run: Run) -> None:
        run.attach(stop=_canceller())
        try:
            outcome = not_begun() if run.stopped else await execute.run_async(run.job, run.context())
        except Exception as error:  # noqa: BLE001
            outcome = _not_run(run, error)
        finally:
            run.detach()
        self._done(run, outcome)


class ThreadPool:
    """Daemon threads, started as needed, each used again; unlike the standard pool's they never hold up an exit."""

    def __init__(self, call: Callable[[Run], None]) -> None:
        self._call = call
        self._runs: SimpleQueue[Run | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._count = 0

    def submit(self, run: Run) -> None:
        """Give a run to a thread that waits, or to a new one."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._count += 1
                threading.Thread(target=self._work, name=f"warren-task-{self._count}", daemon=True).start()
        self._runs.put(run)

    def stop(self) -> None:
        """End the threads once they are idle."""
        for _ in range(self._count):
            self._runs.put(None)

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            self._call(run)
            del run  # a waiting thread keeps no job alive
            with self._lock:
                self._idle += 1


class LoopThread:
    """One thread with one event loop for all `async def` tasks, started with the first."""

    def __init__(self, call: Callable[[Run], Coroutine[Any, Any, None]]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, run: Run) -> None:
        """Start a run on the loop."""
        asyncio.run_coroutine_threadsafe(self._call(run), self._started())

    def stop(self) -> None:
        """Stop the loop; coroutines still running are left where they are."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run_loop, args=(self._loop,), name="warren-asyncio", daemon=True).start()
            return self._loop


def _canceller() -> Callable[[], None]:
    """Return what cancels the current asyncio task from any thread."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def cancel() -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(task.cancel if task is not None else lambda: None)

    return cancel


def _not_run(run: Run, error: Exception) -> Outcome:
    logger.error(
        "job %s could not be run: %s",
        run.job.envelope.id,
        error,
        exc_info=error,
        extra={"event": "run_failed", "job": run.job.envelope.id},
    )
    return Failed(error=describe(error))


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
