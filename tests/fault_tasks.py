"""Tasks whose runs and effects a checker can count: each writes to the history that `FAULT_HISTORY` names."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.history import History
from warren import Context, Retry, task

SOON = Retry(max_attempts=8, min_delay=0, max_delay=1)
BRIEF = Retry(max_attempts=3, min_delay=0, max_delay=1)


@contextmanager
def recorded(ctx: Context, key: str) -> Iterator[None]:
    """Record a run, and its effect when the block gets to its end."""
    history = History(os.environ["FAULT_HISTORY"])
    marks = {
        "attempt": ctx.attempt,
        "max_attempts": ctx.max_attempts,
        "attempts_left": ctx.attempts_left,
        "redelivered": ctx.redelivered,
    }
    with history.run(key, ctx.job_id, **marks) as run:
        yield
        history.add("effect", key, ctx.job_id, run=run)


@task(name="fault.quick", queue="faults", retry=SOON)
def quick(ctx: Context, key: str) -> None:
    with recorded(ctx, key):
        pass


@task(name="fault.aside", queue="aside", retry=SOON)
def aside(ctx: Context, key: str) -> None:
    with recorded(ctx, key):
        pass


@task(name="fault.sleeping", queue="faults", retry=SOON)
def sleeping(ctx: Context, key: str, seconds: float) -> None:
    with recorded(ctx, key):
        time.sleep(seconds)


@task(name="fault.asynchronous", queue="faults", retry=SOON)
async def asynchronous(ctx: Context, key: str, seconds: float = 0.0) -> None:
    with recorded(ctx, key):
        await asyncio.sleep(seconds)


@task(name="fault.isolated", queue="faults", retry=SOON, isolation="process")
def isolated(ctx: Context, key: str, seconds: float = 0.0) -> None:
    with recorded(ctx, key):
        time.sleep(seconds)


@task(name="fault.flaky", queue="faults", retry=SOON)
def flaky(ctx: Context, key: str, failures: int = 2) -> None:
    """Fail the first attempts."""
    with recorded(ctx, key):
        if ctx.attempt <= failures:
            raise RuntimeError(f"attempt {ctx.attempt} of {failures} that fail")


@task(name="fault.failing", queue="faults", retry=BRIEF)
def failing(ctx: Context, key: str) -> None:
    with recorded(ctx, key):
        raise RuntimeError("fails every time")


@task(name="fault.deaf", queue="faults", retry=BRIEF, timeout=1)
def deaf(ctx: Context, key: str, seconds: float) -> None:
    """Ignore the time limit, in a thread."""
    with recorded(ctx, key):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                time.sleep(end - time.monotonic())
            except Exception:  # noqa: BLE001, S112 - the limit is an exception, and this task will not hear it
                continue


@task(name="fault.hanging", queue="faults", retry=BRIEF, timeout=1, isolation="process")
def hanging(ctx: Context, key: str) -> None:
    with recorded(ctx, key):
        time.sleep(3600)


@task(name="fault.looping", queue="faults", retry=BRIEF, timeout=1, isolation="process")
def looping(ctx: Context, key: str) -> None:
    with recorded(ctx, key):
        while True:
            pass


@task(name="fault.segfault", queue="faults", retry=BRIEF, isolation="process")
def segfault(ctx: Context, key: str) -> None:
    with recorded(ctx, key):
        ctypes.string_at(0)


@task(name="fault.hungry", queue="faults", retry=BRIEF, isolation="process", memory_limit_mb=256)
def hungry(ctx: Context, key: str) -> None:
    with recorded(ctx, key):
        bytearray(1 << 30)


@task(name="fault.murder", queue="faults", retry=BRIEF)
def murder(ctx: Context, key: str) -> None:
    """Kill the whole worker that runs it."""
    with recorded(ctx, key):
        os.kill(os.getpid(), signal.SIGKILL)


@task(name="fault.record", queue="faults", retry=SOON)
def record(ctx: Context, history: str, number: int) -> int:
    """Append one line per run, in one write, so that killed writers cannot tear it."""
    line = f"{ctx.job_id} {ctx.attempt} {number}\n".encode()
    descriptor = os.open(Path(history), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    return number
