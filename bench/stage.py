"""Where contenders perform: one broker, a place for each run, and the processes that are started and stopped there."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from bench.agent import MARK
from bench.broker import Broker, QueueGauge
from bench.contender import Command, Contender, Environment, module_of
from bench.errors import BenchError
from bench.peers import HOME
from bench.place import Place
from bench.readings import Reading
from bench.results import Results
from bench.sizes import Size
from warren.local.ports import free_port
from warren.local.processes import Child, tail

STORE_VARIABLE: Final = "WARREN_BENCH_STORE_URL"
READY_SECONDS: Final = 60.0
AGENT_SECONDS: Final = 1800.0
STOP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.01


class Stage:
    """What measures work with.

    Args:
        size: How much is measured.
        broker: The broker of all.
        folder: Where runs leave their logs and stores.
        peers_python: Interpreter of the peers' environment.
        results: Gets the readings.
        tell: Shows a line of progress.
    """

    def __init__(
        self,
        *,
        size: Size,
        broker: Broker,
        folder: Path,
        peers_python: Path,
        results: Results,
        tell: Callable[[str], None],
    ) -> None:
        self.size = size
        self.broker = broker
        self.results = results
        self.tell = tell
        self._folder = folder
        self._contenders: list[Contender] = []
        self._interpreters: dict[Environment, str] = {"warren": sys.executable, "peers": str(peers_python)}
        self._urls: dict[str, str] = {}
        self._runs = 0

    def enter(self, contender: Contender) -> None:
        """Let a contender take part."""
        self._contenders.append(contender)

    def turns(self, measure: str, among: Iterable[str] = ()) -> Iterator[tuple[int, Contender]]:
        """Return rounds and contenders of a measure, interleaved; each round begins with another contender.

        Args:
            measure: Name of the measure.
            among: Only these; empty means all.
        """
        names = set(among)
        takers = [each for each in self._contenders if measure in each.measures and (not names or each.name in names)]
        for number in range(self.size.rounds):
            start = number % len(takers) if takers else 0
            for contender in takers[start:] + takers[:start]:
                yield number + 1, contender

    def note(self, quantity: str, contender: Contender, value: float, round_number: int = 1) -> None:
        """Keep a value."""
        self.results.readings.append(
            Reading(quantity=quantity, contender=contender.name, value=value, round=round_number)
        )

    @contextmanager
    def guarded(self, what: str, contender: Contender) -> Iterator[None]:
        """Keep what goes wrong, and go on with the next contender."""
        try:
            yield
        except (BenchError, OSError, httpx.HTTPError, ValueError) as error:
            self.results.failures.append(f"{what}, {contender.title}: {error}")
            self.tell(f"  {contender.name} FAILED in {what}: {error}")

    def place(self, contender: Contender) -> Place:
        """Return a place for one run; the contender's virtual host is made and prepared the first time."""
        self._runs += 1
        folder = self._folder / f"{self._runs:04d}-{contender.name}"
        (folder / "records").mkdir(parents=True)
        name = f"bench-{contender.name}"
        is_new = name not in self._urls
        if is_new:
            self._urls[name] = self.broker.make_vhost(name)
        place = Place(
            amqp_url=self._urls[name],
            management_url=self.broker.management_url,
            folder=str(folder),
            http_port=free_port(),
            store_url=os.environ.get(STORE_VARIABLE, ""),
            began_ms=time.time_ns() // 1_000_000,
        )
        if is_new:
            self.agent(contender, "prepare", None, place)
        return place

    def leave(self) -> None:
        """Remove the virtual hosts."""
        for name in self._urls:
            self.broker.drop_vhost(name)
        self._urls.clear()

    def agent(self, contender: Contender, action: str, order: Any, place: Place | None = None) -> Any:
        """Have something done in a contender's own interpreter, and return the answer."""
        log = self.log(f"agent-{action}", place)
        arguments = ("-m", "bench.agent", module_of(contender), contender.name, action, json.dumps(order))
        command = Command(name=f"agent {action}", arguments=arguments)
        return json.loads(answer_in(self.finish(contender, command, log, AGENT_SECONDS, place)))

    def finish(
        self, contender: Contender, command: Command, log: Path, timeout_seconds: float, place: Place | None = None
    ) -> str:
        """Run a process to its end, and return what it printed.

        Raises:
            BenchError: It takes too long or fails; with its log.
        """
        child = self._child(contender, command, place, log)
        child.start()
        try:
            if not child.wait(timeout_seconds):
                raise BenchError(f"{contender.name}: {command.name} took over {timeout_seconds:g} s\n{tail(log)}")
        finally:
            child.kill()
        if child.returncode:
            raise BenchError(f"{contender.name}: {child.ended()}")
        return log.read_text(encoding="utf-8", errors="replace")

    @contextmanager
    def running(self, contender: Contender, commands: Sequence[Command], place: Place) -> Iterator[list[Child]]:
        """Start processes, and stop them in order in the end; those that tell when they are ready are waited for."""
        with ExitStack() as stack:
            children = []
            for command in commands:
                child = self._child(contender, command, place, Path(place.folder) / f"{command.name}.log")
                stack.callback(child.kill)
                child.start()
                children.append(child)
            for command, child in zip(commands, children, strict=True):
                if command.ready_url:
                    self.wait(partial(_is_ok, command.ready_url), [child], "ready", READY_SECONDS)
            yield children
            for child in children:
                child.terminate()
            for child in children:
                child.wait(STOP_SECONDS)

    def log(self, name: str, place: Place | None = None) -> Path:
        """Return a new file for what a process prints."""
        self._runs += 1
        return (Path(place.folder) if place else self._folder) / f"{self._runs:04d}-{name}.log"

    def gauge(self, contender: Contender, place: Place) -> QueueGauge:
        """Look at the contender's queue."""
        return QueueGauge(place.amqp_url, contender.queue)

    def purge(self, contender: Contender, place: Place) -> None:
        """Throw away what is in the contender's queue."""
        with self.gauge(contender, place) as gauge:
            gauge.purge()

    def wait(
        self,
        condition: Callable[[], bool],
        children: Sequence[Child],
        what: str,
        timeout_seconds: float = READY_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Wait for a condition.

        Raises:
            BenchError: The time is up, or one of the processes ended; with its log.
        """
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            for child in children:
                if not child.running:
                    raise BenchError(child.ended())
            if time.monotonic() > deadline:
                logs = "\n".join(f"{child.name}:\n{tail(child.log)}" for child in children)
                raise BenchError(f"not {what} after {timeout_seconds:g} s\n{logs}")
            time.sleep(look_seconds)

    def _child(self, contender: Contender, command: Command, place: Place | None, log: Path) -> Child:
        # A user's settings must not reach what is measured.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WARREN_", "CELERY_", "dramatiq_", "TASKIQ_", "PYTHON"))
        }
        return Child(
            command.name,
            [command.program or self._interpreters[contender.environment], *command.arguments],
            log=log,
            environment={
                **inherited,
                "PYTHONPATH": os.pathsep.join([str(HOME), str(HOME / "examples")]),
                **(place.environment if place else {}),
                **command.environment,
            },
            folder=Path(place.folder) if place else self._folder,
        )


def answer_in(printed: str) -> str:
    """Return the last answer in what a process printed, see `bench.agent.MARK`.

    Raises:
        BenchError: There is none.
    """
    answers = [line for line in printed.splitlines() if line.startswith(MARK)]
    if not answers:
        raise BenchError(f"no answer in {printed[-500:]!r}")
    return answers[-1].removeprefix(MARK)


def pids(children: Iterable[Child]) -> list[int]:
    """Return the ids of processes."""
    return [child.pid for child in children if child.pid is not None]


def _is_ok(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
