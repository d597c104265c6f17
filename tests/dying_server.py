"""A server that is gone, all its processes at once, at a point of the ticker's way that `DYING_SERVER_AT` names.

`claim`: a tick was claimed, its job not published. `publish`: its job was published and recorded, the tick not marked.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from warren_server.__main__ import main
from warren_server.store.ticks import TickStore
from warren_server.submit import Submitter

_submit_many = Submitter.submit_many


def die() -> NoReturn:
    Path(os.environ["DYING_SERVER_MARK"]).touch()
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


def die_for_a_tick(self: Submitter, requests: Any, identities: Any = None) -> Any:
    """Die when the ticker submits; a submit over HTTP goes on."""
    if identities is not None and identities[0].id is not None:
        die()
    return _submit_many(self, requests, identities)


if __name__ == "__main__":
    if os.environ["DYING_SERVER_AT"] == "claim":
        Submitter.submit_many = die_for_a_tick  # type: ignore[method-assign]
    else:
        TickStore.settle = lambda *_args: die()  # type: ignore[method-assign]
    sys.exit(main())
