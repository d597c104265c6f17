"""The tasks the server takes jobs for, from their code or from a catalog file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

from warren.envelope import QUEUE_NAME, TASK_NAME
from warren.errors import InvalidArguments, Problem, SettingsError, UnknownTask
from warren.task import Registry, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTask:
    """A task as the server needs it.

    Attributes:
        name: Name on the wire.
        queue: Queue its jobs go to unless the submit says otherwise.
        timeout_seconds: Limit of one attempt.
        max_attempts: Runs before a job is a dead letter.
        isolation: Where it runs.
        description: What it does.
        schema: JSON Schema of its arguments.
        write: Writes arguments as a body, checked; raises `InvalidArguments`.
    """

    name: str
    queue: str
    timeout_seconds: float
    max_attempts: int
    isolation: str
    description: str
    schema: Mapping[str, Any]
    write: Callable[[Mapping[str, Any]], bytes]


class KnownTasks:
    """The tasks the server takes jobs for, by name."""

    def __init__(self, tasks: Mapping[str, KnownTask]) -> None:
        self._tasks = dict(sorted(tasks.items()))

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def all(self) -> list[KnownTask]:
        """Return all tasks, by name."""
        return list(self._tasks.values())

    def get(self, name: str) -> KnownTask:
        """Return a task.

        Raises:
            UnknownTask: There is none of that name.
        """
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(f"task {name!r:.120} is not known here; GET /v1/tasks lists those that are") from None

    def queues(self) -> list[str]:
        """Return the queues the tasks go to by default, sorted."""
        return sorted({task.queue for task in self._tasks.values()})


def from_registry(registry: Registry) -> KnownTasks:
    """Know the tasks whose code is loaded."""
    return KnownTasks({task.name: _from_task(task) for task in registry})


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


def _from_task(task: Task[..., Any]) -> KnownTask:
    return KnownTask(
        name=task.name,
        queue=task.queue,
        timeout_seconds=task.timeout_seconds,
        max_attempts=task.retry.max_attempts,
        isolation=task.isolation,
        description=task.description,
        schema=task.schema,
        write=task.body,
    )


def _from_entry(entry: Mapping[str, Any]) -> KnownTask:
    name, queue, schema = str(entry["name"]), str(entry["queue"]), entry["schema"]
    if not TASK_NAME.fullmatch(name) or not QUEUE_NAME.fullmatch(queue):
        raise ValueError(f"task {name!r:.120} on queue {queue!r:.200} breaks the rule for names")
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
    )
