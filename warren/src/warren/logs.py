"""Logs: one JSON object a line, each with a stable `event` key and the fields of the job it speaks of.

Modules log through the standard library, `logger.info("text", extra={"event": "job_started", ...})`; this module only
formats. What goes wrong at `error` says what failed, why and what to do next.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from warren.settings import LogSettings

_NOISY = {
    "pika": logging.CRITICAL,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "alembic": logging.WARNING,
}


def configure_logs(settings: LogSettings, **fields: str) -> None:
    """Send every log record to standard error in the chosen format.

    Args:
        settings: Level and format.
        **fields: Fields of every line, such as `worker="pod-1"`.
    """
    import structlog

    def add_fields(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**fields, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _message,
        structlog.stdlib.ExtraAdder(),
        _event_key,
        add_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = (
        [
            structlog.processors.format_exc_info,
            # ASCII: no value can break the line for any reader, nor fail to be written in any locale.
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ]
        if settings.format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), event_key="message")]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name, level in _NOISY.items():
        logging.getLogger(name).setLevel(level)


def _message(_logger: Any, _method: str, event: Any) -> Any:
    """Keep the sentence as `message` before `extra` puts the stable key in its place."""
    event["message"] = event.pop("event")
    return event


def _event_key(_logger: Any, _method: str, event: Any) -> Any:
    """Fall back to the logger's name where the caller gave no stable `event` key."""
    record = event.get("_record")
    event.setdefault("event", record.name if record is not None else "log")
    return event
