"""Tasks whose effects a checker can count."""

from __future__ import annotations

import os
from pathlib import Path

from warren import Context, Retry, task


@task(name="fault.record", queue="faults", retry=Retry(max_attempts=8, min_delay=0, max_delay=1))
def record(ctx: Context, history: str, number: int) -> int:
    """Append one line per run, in one write, so that killed writers cannot tear it."""
    line = f"{ctx.job_id} {ctx.attempt} {number}\n".encode()
    descriptor = os.open(Path(history), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    return number
