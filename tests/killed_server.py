"""A server one of whose processes is killed after a publish is confirmed and before anything is recorded or answered.

Each file `kill-*` in the working folder is good for one death.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from warren_server.__main__ import main
from warren_server.submit import Submitter

_await = Submitter._await


def _await_and_die(self: Submitter, *args: Any) -> Any:
    outcomes = _await(self, *args)
    for order in Path.cwd().glob("kill-*"):
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return outcomes


Submitter._await = _await_and_die  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
