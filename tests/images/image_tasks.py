"""Tasks that are mounted into containers or copied into images."""

from __future__ import annotations

import os
import time
from pathlib import Path

from warren import Context, task


@task(name="image.slow", timeout=60)
def slow(ctx: Context, seconds: float) -> str:
    """Take a while."""
    ctx.progress(0.1, "at work")
    time.sleep(seconds)
    return "done"


@task(name="image.apart", isolation="process", timeout=30)
def apart() -> dict[str, object]:
    """Say from a child process who runs and what can be written."""
    writable = []
    for folder in ("/", "/tasks", "/opt/warren", "/tmp"):
        try:
            Path(folder, "written").touch()
        except OSError:
            continue
        writable.append(folder)
    return {"uid": os.getuid(), "writable": writable}
