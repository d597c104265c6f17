"""The dashboard of a server on the in-memory transport, at an address that a browser can open."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from playwright.sync_api import BrowserContext
from werkzeug.serving import make_server

from server_kit import Kit, running
from warren_server.app import create_app

# Read before the environment is cleared for each test.
PICTURES = os.environ.get("WARREN_BROWSER_PICTURES")


@dataclass
class Served:
    """A dashboard at an address, and the parts behind it."""

    kit: Kit
    url: str


Open: TypeAlias = Callable[..., BrowserContext]
Serve: TypeAlias = Callable[..., AbstractContextManager[Served]]


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Served]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with running(folder, **options) as kit:
        server = make_server("127.0.0.1", 0, create_app(kit.parts), threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Served(kit, f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join(10)
            server.server_close()
