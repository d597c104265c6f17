"""A small HTTP port for Kubernetes, Prometheus and scalers: `/healthz`, `/readyz`, `/metrics`, a worker's `/status`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from warren.errors import SettingsError
from warren.settings import read_address

logger = logging.getLogger(__name__)

_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
READ_SECONDS: Final = 5.0
"""How long a caller may take to send its request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the probes ask: each returns None for yes, or the reason for no.

    Attributes:
        dead: Why the process should be restarted. Never because of the broker: a restart mends nothing there.
        unready: Why the process takes no work.
    """

    dead: Callable[[], str | None]
    unready: Callable[[], str | None]


class Probes:
    """The HTTP port, on threads of its own.

    Args:
        bind: `host:port`; port 0 takes a free one.
        health: What to answer.
        registry: The metrics.
        status: What `/status` answers, JSON; without it there is no such path.
    """

    def __init__(
        self, bind: str, health: Health, registry: CollectorRegistry, status: Callable[[], bytes] | None = None
    ) -> None:
        self._bind = bind
        self._handler = _handler(health, registry, status)
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen. Idempotent.

        Raises:
            SettingsError: The address cannot be listened on.
        """
        if self._server is not None:
            return
        try:
            self._server = _Server(read_address(self._bind), self._handler)
        except OSError as error:
            raise SettingsError(
                f"WARREN_PROBE_BIND is {self._bind!r}: cannot listen there: {error}; choose another port, or 0 for any"
            ) from error
        threading.Thread(target=self._server.serve_forever, name="warren-probes", daemon=True).start()
        logger.info(
            "probes and metrics on http://%s:%d",
            *self.address,
            extra={"event": "probes_listening", "host": self.address[0], "port": self.address[1]},
        )

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the library's signature
        logger.debug("a probe connection broke", exc_info=True, extra={"event": "probe_broken"})  # noqa: LOG014 - called in one


def _handler(
    health: Health, registry: CollectorRegistry, status: Callable[[], bytes] | None
) -> type[BaseHTTPRequestHandler]:
    def verdict(reason: str | None) -> tuple[HTTPStatus, str, bytes]:
        status = HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE
        return status, _TEXT, f"{reason or 'ok'}\n".encode()

    answers: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
        "/healthz": lambda: verdict(health.dead()),
        "/readyz": lambda: verdict(health.unready()),
        "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
    }
    if status is not None:
        answers["/status"] = lambda: (HTTPStatus.OK, _JSON, status())

    class Handler(BaseHTTPRequestHandler):
        timeout = READ_SECONDS

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
