"""Run a command that ends when the process that started it ends, even by SIGKILL.

Started as a script: `python tether.py PARENT_PID COMMAND ...`. It asks the kernel for SIGTERM at the parent's death
(prctl(2), PR_SET_PDEATHSIG, which execve keeps) and becomes the command, so the pid stays the same. A script of its own
because `preexec_fn` is not safe in a program with threads. Where the kernel has no such call, the command just runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and become the command."""
    parent, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have died before the call above; then nobody would ever send the signal.
    if os.getppid() != parent:
        sys.exit(f"the process {parent} that started {command[0]} is gone")
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point


if __name__ == "__main__":
    main(sys.argv[1:])
