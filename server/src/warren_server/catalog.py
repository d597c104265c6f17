"""The catalog: tasks known by their schemas alone, so that a server needs none of the code behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

from warren.envelope import QUEUE_NAME, TASK_NAME
from warren.errors import InvalidArguments, Problem, SettingsError
from warren_server.tasks import KnownTask, KnownTasks


def from_catalog(path: Path) -> KnownTasks:
    """Know the tasks a catalog lists.

    Raises:
        SettingsError: The file cannot be read or is no catalog.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["tasks"]
        return KnownTasks({entry["name"]: _from_entry(entry) for entry in entries})
    except (OSError, ValueError, KeyError, TypeError, SchemaError) as error:
        raise SettingsError(
            f"WARREN_CATALOG is {str(path)!r}, which is no catalog: {type(error).__name__}: {error}; "
            "write one with warren tasks export"
        ) from error


def _from_entry(entry: Mapping[str, Any]) -> KnownTask:
    name, queue, schema = str(entry["name"]), str(entry["queue"]), entry["schema"]
    oom_queue = None if entry.get("oom_queue") is None else str(entry["oom_queue"])
    if not TASK_NAME.fullmatch(name) or not QUEUE_NAME.fullmatch(queue):
        raise ValueError(f"task {name!r:.120} on queue {queue!r:.200} breaks the rule for names")
    if oom_queue is not None and not QUEUE_NAME.fullmatch(oom_queue):
        raise ValueError(f"task {name}: oom_queue {oom_queue!r:.200} breaks the rule for names")
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    def write(arguments: Mapping[str, Any]) -> bytes:
        problems = [
            Problem(
                field=".".join(("arguments", *map(str, error.absolute_path))),
                rule=str(error.validator),
                message=f"{error.message:.300}",
            )
            for error in validator.iter_errors(dict(arguments))
        ]
        if problems:
            raise InvalidArguments(name, problems)
        return json.dumps(dict(arguments), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    return KnownTask(
        name=name,
        queue=queue,
        timeout_seconds=float(entry.get("timeout_seconds") or 300),
        max_attempts=int(entry.get("max_attempts") or 5),
        isolation=str(entry.get("isolation") or "thread"),
        description=str(entry.get("description") or ""),
        schema=schema,
        write=write,
        oom_queue=oom_queue,
    )
