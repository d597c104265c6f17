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
        structlog.stdlib.ExtraAdder(),
        _message_and_event,
        add_fields,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[structlog.typing.Processor] = (
        [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
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


def _message_and_event(_logger: Any, _method: str, event: Any) -> Any:
    """Keep the sentence as `message`; `event` is the stable key given by `extra`, else the logger's name."""
    record = event.get("_record")
    extra_event = getattr(record, "event", None) if record is not None else None
    event["message"] = record.getMessage() if record is not None else event.get("event")
    event["event"] = extra_event or (record.name if record is not None else "log")
    return event
