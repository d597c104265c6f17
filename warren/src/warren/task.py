"""Tasks: named functions with a typed signature, and the registry that knows them."""

from __future__ import annotations

import importlib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, ParamSpec, TypeVar, overload

from warren.context import Context
from warren.envelope import QUEUE_NAME, TASK_NAME
from warren.errors import (
    DuplicateTask,
    InvalidArguments,
    Problem,
    SettingsError,
    TaskError,
    UnknownTask,
)
from warren.retry import Retry
from warren.topology import DEFAULT_QUEUE

if TYPE_CHECKING:
    from pydantic import BaseModel

P = ParamSpec("P")
R = TypeVar("R")

Isolation = Literal["thread", "asyncio", "process"]

DEFAULT_TIMEOUT_SECONDS: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class Task(Generic[P, R]):
    """A function that workers run by name. Calling it runs the function here and now, as if it were undecorated.

    Attributes:
        name: Name of the task on the wire.
        function: The function itself.
        queue: Queue its jobs go to unless the submit says otherwise.
        timeout_seconds: Limit of one attempt.
        retry: What happens when it fails.
        isolation: Where it runs: `thread` (a `def`), `asyncio` (an `async def`) or `process` (a child process, the only
            kind whose hard limits hold for code that uses the processor).
        memory_limit_mb: Address space of the child process in MiB, only for `process`.
        oom_queue: Queue a job goes to once when it runs out of memory, only for `process`.
        oom_memory_limit_mb: What `memory_limit_mb` is in that queue.
        description: First line of the docstring.
    """

    name: str
    function: Callable[P, R]
    queue: str = DEFAULT_QUEUE
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    retry: Retry = field(default_factory=Retry)
    isolation: Isolation = "thread"
    memory_limit_mb: int | None = None
    oom_queue: str | None = None
    oom_memory_limit_mb: int | None = None

    def __post_init__(self) -> None:
        if not TASK_NAME.fullmatch(self.name):
            raise TaskError(
                f"task name {self.name!r:.200} must be 1 to 100 of a-z, 0-9, '_' and '.', with no '.' in front"
            )
        if not QUEUE_NAME.fullmatch(self.queue):
            raise TaskError(f"task {self.name}: queue {self.queue!r:.200} must match {QUEUE_NAME.pattern}")
        if not 0 < self.timeout_seconds <= 30 * 86400:
            raise TaskError(f"task {self.name}: timeout={self.timeout_seconds} must be above 0 s and at most 30 days")
        if self.memory_limit_mb is not None and (self.isolation != "process" or self.memory_limit_mb < 64):
            raise TaskError(f"task {self.name}: memory_limit_mb needs isolation='process' and 64 MiB or more")
        self._check_escalation()
        self._check_parameters()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def description(self) -> str:
        """First line of the function's docstring, or nothing."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @cached_property
    def takes_context(self) -> bool:
        """Whether the function wants the `Context` as its first argument, by annotation or by the name `ctx`."""
        first = next(iter(inspect.signature(self.function).parameters.values()), None)
        if first is None:
            return False
        return first.name == "ctx" or first.annotation in (Context, "Context")

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments object (draft 2020-12)."""
        return self._model.model_json_schema()

    def validate(self, body: bytes) -> dict[str, Any]:
        """Check a JSON object of arguments against the signature, strictly.

        Returns:
            The arguments to call the function with, as the annotated types.

        Raises:
            InvalidArguments: With one problem per field that does not fit.
        """
        from pydantic import ValidationError

        try:
            checked = self._model.model_validate_json(body)
        except ValidationError as error:
            raise InvalidArguments(self.name, _problems(error.errors(include_url=False))) from error
        return {field.alias or name: getattr(checked, name) for name, field in type(checked).model_fields.items()}

    def body(self, arguments: Mapping[str, Any]) -> bytes:
        """Write arguments as the JSON body of a job, checked against the signature.

        Raises:
            InvalidArguments: They do not fit, or cannot be written as JSON.
        """
        try:
            text = json.dumps(dict(arguments), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            body = text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArguments(
                self.name, [Problem(field="arguments", rule="json", message=f"not JSON: {error}")]
            ) from error
        self.validate(body)
        return body

    @cached_property
    def _model(self) -> type[BaseModel]:
        from pydantic import ConfigDict, Field, create_model

        hints = typing.get_type_hints(self.function, include_extras=True)
        # Fields are numbered and known by alias, so that a parameter may be called `copy`, `json` or `model_config`.
        fields: dict[str, Any] = {
            f"p{number}": (
                hints.get(parameter.name, Any),
                Field(
                    ... if parameter.default is inspect.Parameter.empty else parameter.default,
                    alias=parameter.name,
                ),
            )
            for number, parameter in enumerate(self._parameters())
        }
        return create_model(self.name, __config__=ConfigDict(strict=True, extra="forbid"), **fields)

    def _parameters(self) -> list[inspect.Parameter]:
        found = list(inspect.signature(self.function).parameters.values())
        return found[1:] if self.takes_context else found

    def _check_escalation(self) -> None:
        queue, limit_mb = self.oom_queue, self.oom_memory_limit_mb
        if queue is None:
            if limit_mb is not None:
                raise TaskError(f"task {self.name}: oom_memory_limit_mb={limit_mb} needs oom_queue, where it holds")
            return
        if not QUEUE_NAME.fullmatch(queue):
            raise TaskError(f"task {self.name}: oom_queue {queue!r:.200} must match {QUEUE_NAME.pattern}")
        if queue == self.queue:
            raise TaskError(
                f"task {self.name}: oom_queue {queue!r} is the task's own queue; "
                "name one whose workers have more memory"
            )
        if self.isolation != "process":
            raise TaskError(
                f"task {self.name}: oom_queue needs isolation='process': "
                "elsewhere a job that runs out of memory takes its worker along"
            )
        if limit_mb is None and self.memory_limit_mb is not None:
            raise TaskError(
                f"task {self.name}: oom_queue with memory_limit_mb={self.memory_limit_mb} needs oom_memory_limit_mb, "
                "the limit in that queue; with the same one it would run out of memory again"
            )
        if limit_mb is not None and limit_mb < max(64, (self.memory_limit_mb or 0) + 1):
            raise TaskError(
                f"task {self.name}: oom_memory_limit_mb={limit_mb} must be 64 MiB or more, and above "
                f"memory_limit_mb={self.memory_limit_mb}"
            )

    def _check_parameters(self) -> None:
        for parameter in self._parameters():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TaskError(
                    f"task {self.name}: parameter {parameter} cannot be passed by keyword; arguments are a JSON object"
                )


def _problems(errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    return [
        Problem(
            field=".".join(("arguments", *map(str, error["loc"]))),
            rule=str(error["type"]),
            message=str(error["msg"]),
        )
        for error in errors
    ]


class Registry:
    """The tasks a program knows, by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[Any, Any]] = {}

    def __iter__(self) -> Iterator[Task[Any, Any]]:
        return iter(sorted(self._tasks.values(), key=lambda known: known.name))

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def add(self, new: Task[Any, Any]) -> None:
        """Add a task.

        Raises:
            DuplicateTask: Another function already has its name.
        """
        known = self._tasks.get(new.name)
        if known is not None and known.function is not new.function:
            raise DuplicateTask(
                f"task name {new.name!r} is claimed by {_where(known.function)} and {_where(new.function)}; "
                "give one of them another name: @task(name=...)"
            )
        self._tasks[new.name] = new

    def get(self, name: str) -> Task[Any, Any]:
        """Return a task.

        Raises:
            UnknownTask: None has that name.
        """
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(
                f"task {name!r:.200} is not known here; known: {', '.join(self._tasks) or 'none'}"
            ) from None

    def queues(self) -> list[str]:
        """Return the queues the tasks go to, by default and when they run out of memory, sorted."""
        return sorted({known.queue for known in self._tasks.values()}.union(self.oom_queues()))

    def oom_queues(self) -> list[str]:
        """Return the queues the tasks go to when they run out of memory, sorted."""
        return sorted({known.oom_queue for known in self._tasks.values() if known.oom_queue is not None})


default_registry = Registry()
"""Where `@task` puts tasks; the only registry at module level."""


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    queue: str = DEFAULT_QUEUE,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    retry: Retry | None = None,
    isolation: Isolation | None = None,
    memory_limit_mb: int | None = None,
    oom_queue: str | None = None,
    oom_memory_limit_mb: int | None = None,
    registry: Registry | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    queue: str = DEFAULT_QUEUE,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    retry: Retry | None = None,
    isolation: Isolation | None = None,
    memory_limit_mb: int | None = None,
    oom_queue: str | None = None,
    oom_memory_limit_mb: int | None = None,
    registry: Registry | None = None,
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a task that workers can run.

    Args:
        function: The function, when used as a bare `@task`.
        name: Name on the wire; the function's own unless given.
        queue: Queue its jobs go to.
        timeout: Limit of one attempt in seconds.
        retry: Retry policy; five attempts with back-off up to ten minutes unless given.
        isolation: `process` for a child process; otherwise `asyncio` for an `async def` and `thread` for a `def`.
        memory_limit_mb: Memory limit of the child process in MiB.
        oom_queue: Queue a job goes to when it runs out of memory, once: one whose workers have more. That run does not
            count as an attempt.
        oom_memory_limit_mb: The child's memory limit in that queue, above `memory_limit_mb`; needed if there is one.
        registry: Where to put it; the default registry unless given.

    Raises:
        TaskError: A name, limit or parameter breaks its rule.
        DuplicateTask: The name is taken.
    """

    def declare(target: Callable[P, R]) -> Task[P, R]:
        is_async = inspect.iscoroutinefunction(target)
        if isolation == "asyncio" and not is_async:
            raise TaskError(f"task {target.__name__}: isolation='asyncio' needs an async def")
        if isolation == "thread" and is_async:
            raise TaskError(f"task {target.__name__}: an async def cannot have isolation='thread'")
        declared = Task(
            name=name or target.__name__,
            function=target,
            queue=queue,
            timeout_seconds=float(timeout),
            retry=retry or Retry(),
            isolation=isolation or ("asyncio" if is_async else "thread"),
            memory_limit_mb=memory_limit_mb,
            oom_queue=oom_queue,
            oom_memory_limit_mb=oom_memory_limit_mb,
        )
        (default_registry if registry is None else registry).add(declared)
        return declared

    return declare if function is None else declare(function)


def load_tasks(modules: str) -> Registry:
    """Import the modules that declare tasks and return the default registry.

    Args:
        modules: Module names, separated by commas, as in `WARREN_TASKS`.

    Raises:
        SettingsError: A module cannot be imported.
    """
    for module in filter(None, (part.strip() for part in modules.split(","))):
        try:
            importlib.import_module(module)
        except Exception as error:
            raise SettingsError(
                f"WARREN_TASKS names {module!r}, which cannot be imported: {type(error).__name__}: {error}; "
                "it must be a module on PYTHONPATH"
            ) from error
    return default_registry


def _where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
