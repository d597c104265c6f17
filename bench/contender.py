"""The port of a contender, and how they are found. Standard library only: it is imported by all their interpreters.

A contender is one class in one file of `bench/contenders`. Its class attributes say what it is; `publisher` and
`prepare` run in its own interpreter (`bench.agent`); `services` and `workers` are the commands its users would type.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from bench.place import Place

if TYPE_CHECKING:
    from bench.drain import Drained
    from bench.stage import Stage

Environment: TypeAlias = Literal["warren", "peers"]
Arguments: TypeAlias = Mapping[str, Any]


class Publisher(Protocol):
    """Submits jobs, confirmed."""

    def one(self, task: str, arguments: Arguments) -> None:
        """Submit a job, and return when the broker has it safe."""

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        """Submit jobs the fastest documented way, and return when the broker has all of them safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process to start.

    Attributes:
        name: What to call it.
        arguments: What follows the program, `-m module` and so on.
        program: The program; empty for the contender's interpreter.
        environment: Its own variables.
        ready_url: Answers 200 when it is ready; empty when it has no such thing.
    """

    name: str
    arguments: tuple[str, ...]
    program: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_url: str = ""


class Contender(ABC):
    """A job system, or a client, that is measured."""

    name: ClassVar[str]
    """Its name in results and on the command line."""
    title: ClassVar[str]
    """Its name for people."""
    environment: ClassVar[Environment] = "peers"
    """Whose interpreter it runs in: Warren's own, or the peers' virtual environment."""
    distributions: ClassVar[tuple[str, ...]] = ()
    """Installed packages whose versions are printed."""
    settings: ClassVar[Mapping[str, str]] = {}
    """How it is set up, and why, as printed."""
    queue: ClassVar[str] = "bench"
    """Name of its queue on the broker."""
    measures: ClassVar[frozenset[str]] = frozenset({"publish", "worker", "latency", "startup", "memory"})
    """What it takes part in."""
    tasks: ClassVar[frozenset[str]] = frozenset({"noop", "sleep", "cpu"})
    """Which of the worker's tasks it runs."""
    serves: ClassVar[bool] = False
    """Whether its services are a server whose start and memory are measured."""
    pace: ClassVar[float] = 1.0
    """About how many times faster than Celery its workers are; sizes its backlogs."""

    # In its own interpreter.

    def prepare(self, place: Place) -> None:
        """Make what it needs on the broker; here its queue, quorum and durable, by its own client when it can."""
        with self.publisher(place):
            pass

    @abstractmethod
    def publisher(self, place: Place) -> AbstractContextManager[Publisher]:
        """Connect."""

    # In the bench's interpreter.

    def services(self, place: Place, processes: int = 1) -> list[Command]:  # noqa: ARG002
        """Return what runs beside its workers."""
        return []

    @abstractmethod
    def workers(self, place: Place, processes: int) -> list[Command]:
        """Return the commands that start so many worker processes."""

    def consumers(self, processes: int) -> int:
        """Return how many consumers its queue has when all workers are ready."""
        return processes

    def recorded(self, place: Place) -> int | None:  # noqa: ARG002
        """Return how many results it has recorded, or None if it records none."""
        return None

    # For what is no Python: a contender may do the two measures in a way of its own.

    def versions(self, stage: Stage) -> Mapping[str, str]:
        """Return the versions of what it is made of."""
        answer: Mapping[str, str] = stage.agent(self, "versions", list(self.distributions))
        return answer

    def absence(self, stage: Stage) -> str:  # noqa: ARG002
        """Say why it cannot take part, or nothing."""
        return ""

    def publish(self, stage: Stage, orders: list[dict[str, Any]]) -> list[dict[str, float]]:
        """Publish as ordered, see `bench.agent.publish`, and empty its queue."""
        place = stage.place(self)
        answer: list[dict[str, float]] = stage.agent(self, "publish", orders, place)
        stage.purge(self, place)
        return answer

    def drain(self, stage: Stage, task: str, jobs: int) -> Drained:
        """Fill its queue and have its workers empty it."""
        from bench.drain import drain

        return drain(stage, self, task, jobs)


def load(module: str) -> list[Contender]:
    """Return the contenders of one file of `bench/contenders`."""
    found = importlib.import_module(f"bench.contenders.{module}")
    classes = [
        kind
        for kind in vars(found).values()
        if inspect.isclass(kind) and issubclass(kind, Contender) and not inspect.isabstract(kind)
    ]
    return [kind() for kind in classes if kind.__module__ == found.__name__]


def module_of(contender: Contender) -> str:
    """Return the file of a contender, as `load` takes it."""
    return type(contender).__module__.rpartition(".")[2]


def discover() -> list[Contender]:
    """Return all contenders: Warren first, then by name."""
    package = importlib.import_module("bench.contenders")
    found = [each for module in pkgutil.iter_modules(package.__path__) for each in load(module.name)]
    return sorted(found, key=lambda each: (not each.name.startswith("warren"), each.name))
