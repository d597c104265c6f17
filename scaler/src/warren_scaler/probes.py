"""A small HTTP port of the scaler: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from warren.errors import SettingsError

logger = logging.getLogger(__name__)

_TEXT: Final = "text/plain; charset=utf-8"
_READ_SECONDS: Final = 5.0


class Probes:
    """The HTTP port, on threads of its own.

    Args:
        bind: `host:port`; port 0 takes a free one.
        dead: Returns why the process should be restarted, or None.
        registry: The metrics.
    """

    def __init__(self, bind: str, dead: Callable[[], str | None], registry: CollectorRegistry = REGISTRY) -> None:
        self._bind = bind
        self._handler = _handler(dead, registry)
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen. Idempotent.

        Raises:
            SettingsError: The address cannot be listened on.
        """
        if self._server is not None:
            return
        try:
            self._server = ThreadingHTTPServer(read_address(self._bind), self._handler)
        except OSError as error:
            raise SettingsError(
                f"WARREN_PROBE_BIND is {self._bind!r}: cannot listen there: {error}; choose another port, or 0 for any"
            ) from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="warren-probes", daemon=True).start()
        host, port = self.address
        logger.info("probes and metrics on http://%s:%d", host, port, extra={"event": "probes_listening", "port": port})

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; only after `start`."""
        if self._server is None:
            raise RuntimeError("the probes are not started")
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def stop(self) -> None:
        """Stop listening. Idempotent, safe before `start`."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


def read_address(text: str) -> tuple[str, int]:
    """Read `host:port`.

    Raises:
        ValueError: It is something else.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:9100; port 0 takes a free one")
    return host.strip("[]"), int(port)


def _handler(dead: Callable[[], str | None], registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    def health() -> tuple[HTTPStatus, str, bytes]:
        reason = dead()
        return (
            HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE,
            _TEXT,
            f"{reason or 'ok'}\n".encode(),
        )

    answers: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
        "/healthz": health,
        "/readyz": health,
        "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = _READ_SECONDS

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            status, kind, body = answer() if answer else (HTTPStatus.NOT_FOUND, _TEXT, b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
            """Keep quiet: probes come every few seconds."""

    return Handler
