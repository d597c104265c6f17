"""Tasks for workers under test, in this process and in others; imported by name through `WARREN_TASKS`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from warren import Context, Discard, Retry, task

_QUICK = Retry(max_attempts=3, min_delay=0, max_delay=0)


@task(name="check.add")
def add(left: int, right: int) -> int:
    return left + right


@task(name="check.log", retry=Retry(max_attempts=20, min_delay=0, max_delay=1))
def log(path: str, line: str, seconds: float = 0.0) -> str:
    """Write a line when the work begins and another when it is done."""
    append(path, f"start {line}")
    time.sleep(seconds)
    append(path, f"end {line}")
    return line


@task(name="check.fail_until", retry=Retry(max_attempts=5, min_delay=1, max_delay=1))
def fail_until(ctx: Context, attempt: int) -> int:
    if ctx.attempt < attempt:
        raise RuntimeError(f"attempt {ctx.attempt} is not {attempt} yet")
    return ctx.attempt


@task(name="check.always_fails", retry=_QUICK)
def always_fails() -> None:
    raise RuntimeError("never works")


@task(name="check.async_sleep", timeout=5)
async def async_sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@task(name="child.add", isolation="process")
def child_add(left: int, right: int) -> list[int]:
    return [left + right, os.getpid()]


@task(name="child.async", isolation="process")
async def child_async() -> str:
    await asyncio.sleep(0)
    return "async in a child"


@task(name="child.exit", isolation="process", retry=Retry(max_attempts=1))
def child_exit(status: int) -> None:
    os._exit(status)


@task(name="child.segfault", isolation="process", retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
def child_segfault() -> None:
    ctypes.string_at(0)


@task(name="child.memory", isolation="process", memory_limit_mb=256, retry=Retry(max_attempts=1))
def child_memory(megabytes: int) -> int:
    return len(bytearray(megabytes * 1024 * 1024))


@task(name="child.spin", isolation="process", timeout=1, retry=Retry(max_attempts=1))
def child_spin(path: str) -> None:
    """Never end, never listen, with a grandchild."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(f"{os.getpid()} {grandchild.pid}")
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001, S110 - the worst task there is
            pass


@task(name="child.escape", isolation="process", timeout=5, retry=Retry(max_attempts=1))
def child_escape(path: str, end: str) -> None:
    """Start what leaves the process group, one of them a daemon whose parent ends, and then hang or crash."""
    sleep = "import time; time.sleep(600)"
    session = subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True)
    nested = (
        "import subprocess, sys; "
        f"print(subprocess.Popen([sys.executable, '-c', {sleep!r}], start_new_session=True, stdout=-3).pid)"
    )
    daemon = subprocess.run([sys.executable, "-c", nested], stdout=subprocess.PIPE, check=True)
    bare = subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True, env={})
    Path(path).write_text(f"{session.pid} {int(daemon.stdout)} {bare.pid if end == 'hang' else session.pid}")
    if end == "hang":
        time.sleep(600)
    bare.kill()
    os._exit(3)


@task(name="child.kill_self", isolation="process", retry=Retry(max_attempts=1))
def child_kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(name="child.nested_memory", isolation="process", memory_limit_mb=512)
def child_nested_memory(megabytes: int) -> str:
    """Let a process of its own take memory, and tell what that said."""
    code = f"bytearray({megabytes} * 1024 * 1024)"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2]


@task(name="child.discard", isolation="process")
def child_discard() -> None:
    raise Discard("not worth it")


@task(name="child.retry_after", isolation="process")
def child_retry_after() -> None:
    raise Retry.after(64)


@task(name="child.system_exit", isolation="process", retry=Retry(max_attempts=1))
def child_system_exit() -> None:
    sys.exit("the task gave up")


@task(name="child.checkpoint", isolation="process", retry=Retry(max_attempts=3, min_delay=0, max_delay=0))
def child_checkpoint(ctx: Context) -> Any:
    if ctx.state is None:
        ctx.progress(0.5, "half")
        ctx.checkpoint({"at": 5})
        os._exit(1)
    return ctx.state


@task(name="child.wait_cancelled", isolation="process", timeout=60)
def child_wait_cancelled(ctx: Context, path: str) -> str:
    Path(path).write_text("started")
    while not ctx.cancelled:
        time.sleep(0.01)
    return "cancelled"


def append(path: str, line: str) -> None:
    """Add a line to a file in one write, so that lines of several processes never mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@task(name="check.heavy", retry=Retry(max_attempts=1))
def heavy(ctx: Context, size: int) -> None:
    """Die with as large a checkpoint and as long a story as there may be."""
    ctx.checkpoint("x" * size)
    try:
        raise ValueError("ü" * 5000)
    except ValueError as error:
        raise RuntimeError("€" * 5000) from error


@task(name="check.poison", retry=_QUICK)
def poison(path: str, how: str) -> None:
    """Take the whole worker down, with everything it holds."""
    append(path, "poison")
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(1)


def steps(ctx: Context, path: str, last: int) -> Iterator[None]:
    """Go through numbered steps, each written down and saved, and wait at the third the first time."""
    first = ctx.state or 0
    for step in range(first, last):
        append(path, f"step {step}")
        ctx.checkpoint(step + 1)
        if first == 0 and step == 2:
            while not ctx.cancelled:
                yield
            raise RuntimeError("out of time")


@task(name="check.steps_thread", retry=Retry(max_attempts=1))
def steps_thread(ctx: Context, path: str, last: int) -> list[int]:
    for _ in steps(ctx, path, last):
        time.sleep(0.01)
    return [ctx.attempt, ctx.attempts_left]


@task(name="check.steps_asyncio", retry=Retry(max_attempts=1))
async def steps_asyncio(ctx: Context, path: str, last: int) -> list[int]:
    for _ in steps(ctx, path, last):
        await asyncio.sleep(0.01)
    return [ctx.attempt, ctx.attempts_left]


@task(name="check.steps_process", isolation="process", retry=Retry(max_attempts=1))
def steps_process(ctx: Context, path: str, last: int) -> list[int]:
    for _ in steps(ctx, path, last):
        time.sleep(0.01)
    return [ctx.attempt, ctx.attempts_left]


@task(name="check.stubborn", isolation="process", retry=Retry(max_attempts=1))
def stubborn(ctx: Context, path: str) -> Any:
    """Save a checkpoint and then hear nothing, the first time."""
    if ctx.state is None:
        ctx.checkpoint("saved")
        append(path, "started")
        time.sleep(600)
    return ctx.state


@task(name="check.overlong", timeout=120, retry=Retry(max_attempts=1))
def overlong(ctx: Context, seconds: float) -> list[Any]:
    time.sleep(seconds)
    return [ctx.attempt, ctx.redelivered]


@task(name="child.spin_long", isolation="process", timeout=60, retry=_QUICK)
def child_spin_long(path: str) -> None:
    """Never end by itself, and never listen."""
    Path(path).write_text(str(os.getpid()))
    while True:
        pass


@task(name="check.listens", timeout=60, retry=_QUICK)
def listens(ctx: Context, path: str) -> None:
    """Run until cancelled."""
    append(path, "start")
    while True:
        ctx.raise_if_cancelled()
        time.sleep(0.01)


@task(name="check.awaits", timeout=60, retry=_QUICK)
async def awaits(path: str) -> None:
    """Sleep until cancelled."""
    append(path, "start")
    await asyncio.sleep(60)


@task(name="check.note")
def note(ctx: Context, path: str, line: str = "", seconds: float = 0.0) -> None:
    """Write when the work begins and when it is done, with the time and who did it, in one line each."""
    append(path, f"start {time.monotonic():.4f} {os.getpid()} {ctx.job_id} {line}")
    time.sleep(seconds)
    append(path, f"end {time.monotonic():.4f} {os.getpid()} {ctx.job_id} {line}")


@task(name="check.again_in", retry=_QUICK)
def again_in(seconds: float) -> None:
    raise Retry.after(seconds)
