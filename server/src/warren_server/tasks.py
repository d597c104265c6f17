"""The tasks the server takes jobs for, from their code or from a catalog file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from warren.errors import UnknownTask
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
        oom_queue: Queue its jobs go to once when they run out of memory, or None.
    """

    name: str
    queue: str
    timeout_seconds: float
    max_attempts: int
    isolation: str
    description: str
    schema: Mapping[str, Any]
    write: Callable[[Mapping[str, Any]], bytes]
    oom_queue: str | None = None


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

    def oom_queues(self) -> list[str]:
        """Return the queues the tasks go to when they run out of memory, sorted."""
        return sorted({task.oom_queue for task in self._tasks.values() if task.oom_queue is not None})


def from_registry(registry: Registry) -> KnownTasks:
    """Know the tasks whose code is loaded."""
    return KnownTasks({task.name: _from_task(task) for task in registry})


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
        oom_queue=task.oom_queue,
    )
