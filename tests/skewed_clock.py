"""Runs a program of ours under libfaketime, with a `time.sleep` that works there.

`python -m skewed_clock warren_worker`, with libfaketime preloaded. Python 3.11's `time.sleep` stands on
`clock_nanosleep` with an absolute monotonic time. libfaketime 0.9.10 moves that by the skew even when it is told to
leave the monotonic clock alone, so sleeping fails with EINVAL or lasts an hour. `select` is left alone.
"""

from __future__ import annotations

import runpy
import select
import sys
import time


def sleep(seconds: float) -> None:
    """Sleep, by `select`."""
    select.select([], [], [], seconds)


if __name__ == "__main__":
    program = sys.argv[1]
    sys.argv = [program]
    time.sleep = sleep
    runpy.run_module(program, run_name="__main__", alter_sys=True)
