"""Gunicorn, set up: processes, limits, and what each process starts and stops."""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]
from prometheus_client import multiprocess

from warren_server.app import create_app
from warren_server.parts import Parts, ServerConfig, assemble

READ_SECONDS: Final = "read_seconds"
_MAX_CONNECTIONS: Final = 1000

_parts: Parts | None = None
"""The parts of this process, one of gunicorn's workers; None in the process that watches them."""


class RootLogger(Logger):  # type: ignore[misc]
    """Gunicorn's logger without handlers of its own: its lines look like all others."""

    def setup(self, cfg: Any) -> None:
        """Leave formats and levels to `warren.logs`."""
        self.cfg = cfg
        for log in (self.error_log, self.access_log):
            log.handlers[:] = []
            log.propagate = True
        self.access_log.disabled = True

    def reopen_files(self) -> None:
        """Do nothing: there are no files."""


class Server(BaseApplication):  # type: ignore[misc]
    """The processes of one server.

    Args:
        config: What they share.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn up."""
        for name, value in options(self._config).items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Make the application of a process just forked; connections are opened here, never before."""
        global _parts  # noqa: PLW0603 - gunicorn's hooks know a process, not its parts
        _parts = assemble(self._config)
        app = create_app(_parts)
        _parts.start()
        return app


def options(config: ServerConfig) -> dict[str, Any]:
    """Return gunicorn's settings."""
    server = config.server
    return {
        "bind": [server.bind],
        "workers": server.processes,
        "threads": server.threads,
        "worker_class": "warren_server.gunicorn_worker.DeadlineWorker",
        "worker_connections": _MAX_CONNECTIONS,
        "logger_class": RootLogger,
        "keepalive": 15,
        "timeout": 60,
        "graceful_timeout": int(server.drain_seconds) or 1,
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        # X_User beside X-User: one of them is a lie, and WSGI cannot tell them apart.
        "header_map": "refuse",
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        "forwarded_allow_ips": "",
        "control_socket_disable": True,
        "proc_name": "warren-server",
        "raw_env": [f"{READ_SECONDS}={server.read_seconds}"],
        "worker_exit": _on_worker_exit,
        "child_exit": _on_child_exit,
    }


def drain() -> None:
    """Make this process unready."""
    if _parts is not None:
        _parts.drain()


def _on_worker_exit(_arbiter: Any, _worker: Any) -> None:
    if _parts is not None:
        _parts.stop()


def _on_child_exit(_arbiter: Any, worker: Any) -> None:
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    logging.getLogger(__name__).info("process %s ended", worker.pid, extra={"event": "process_ended"})
