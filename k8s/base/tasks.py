"""The tasks of this installation; server and workers see this file in /tasks. Put yours in its place."""

from __future__ import annotations

import time

from warren import Context, task


@task
def greet(ctx: Context, name: str = "world") -> str:
    """Say hello."""
    return f"hello, {name}"


@task(timeout=600)
def nap(ctx: Context, seconds: float = 1.0) -> float:
    """Sleep, a stand-in for work."""
    time.sleep(seconds)
    return seconds
