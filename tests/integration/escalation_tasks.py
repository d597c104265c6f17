"""A task that runs out of memory in its own queue and has more in another; imported by name through `WARREN_TASKS`."""

from __future__ import annotations

from typing import Any

from warren import Context, Retry, task

_QUICK = Retry(max_attempts=2, min_delay=0, max_delay=0)


@task(
    name="large.fill",
    isolation="process",
    memory_limit_mb=256,
    oom_queue="large",
    oom_memory_limit_mb=1024,
    retry=Retry(max_attempts=1),
)
def fill(ctx: Context, megabytes: int) -> list[Any]:
    """Take so much memory, and say where that was possible."""
    before = ctx.state
    ctx.checkpoint({"last": ctx.queue})
    return [ctx.queue, ctx.attempt, ctx.attempts_left, len(bytearray(megabytes * 1024 * 1024)), before]


@task(
    name="large.stubborn",
    isolation="process",
    memory_limit_mb=256,
    oom_queue="large",
    oom_memory_limit_mb=512,
    retry=_QUICK,
)
def stubborn(megabytes: int) -> int:
    """Run out of memory wherever it runs."""
    return len(bytearray(megabytes * 1024 * 1024))
