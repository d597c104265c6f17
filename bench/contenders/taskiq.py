"""TaskIQ with taskiq-aio-pika: quorum queues and confirms are its defaults.

https://taskiq-python.github.io/available-components/brokers.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar, Final

from bench import work
from bench.contender import Arguments, Command, Contender, Publisher
from bench.place import Place, here
from bench.recorder import recorder

QUEUE: Final = "bench"
PREFETCH: Final = 100
_TOGETHER: Final = 500


class TaskIQ(Contender):
    """TaskIQ with `async def` tasks, its native kind; what computes is a `def` and runs in its thread pool."""

    name = "taskiq"
    title = "TaskIQ"
    distributions = ("taskiq", "taskiq-aio-pika", "aio-pika", "aiormq")
    settings: ClassVar = {
        "broker": f"`AioPikaBroker(qos={PREFETCH}, task_queues=[Queue(type=QueueType.QUORUM)])`; the default of 10 "
        "would leave nine tenths of its `--max-async-tasks` idle",
        "worker": "`taskiq worker --workers N --ack-type when_executed --log-level WARNING`",
        "publish": f"`kiq`, each waits for its confirm; in bulk {_TOGETHER} at a time by `asyncio.gather`",
        "results": "none recorded",
    }
    queue = QUEUE

    @contextmanager
    def publisher(self, place: Place) -> Iterator[Publisher]:
        """Start a broker on an event loop of its own."""
        broker = make_broker(place)
        with asyncio.Runner() as runner:
            runner.run(broker.startup())
            try:
                yield _Publisher(broker, runner.get_loop())
            finally:
                runner.run(broker.shutdown())

    def workers(self, place: Place, processes: int) -> list[Command]:  # noqa: ARG002
        """Return the one command that starts all processes."""
        options = ("--workers", str(processes), "--ack-type", "when_executed", "--log-level", "WARNING")
        arguments = ("-m", "taskiq", "worker", "bench.contenders.taskiq:broker", *options)
        return [Command(name="taskiq", arguments=arguments)]


class _Publisher:
    def __init__(self, broker: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks = {name: broker.find_task(f"bench.{name}") for name in work.TASKS}

    def one(self, task: str, arguments: Arguments) -> None:
        self._loop.run_until_complete(self._tasks[task].kiq(**arguments))

    def many(self, task: str, jobs: Iterable[Arguments]) -> None:
        left = iter(jobs)
        while together := list(islice(left, _TOGETHER)):
            self._loop.run_until_complete(self._send(task, together))

    async def _send(self, task: str, jobs: list[Arguments]) -> None:
        await asyncio.gather(*(self._tasks[task].kiq(**arguments) for arguments in jobs))


async def noop(payload: str = "") -> None:  # noqa: ARG001
    """Do nothing."""
    recorder().note()


async def sleep(payload: str = "") -> None:  # noqa: ARG001
    """Wait for a millisecond, as for an answer of somebody else."""
    await asyncio.sleep(work.SLEEP_SECONDS)
    recorder().note()


async def stamp(at_ns: int) -> None:
    """Note how long after its due time the job began."""
    recorder().note(latency_ns=time.monotonic_ns() - at_ns)


def make_broker(place: Place) -> Any:
    """Make the broker with its tasks."""
    from taskiq_aio_pika import AioPikaBroker, Queue, QueueType

    broker = AioPikaBroker(
        place.amqp_url, qos=PREFETCH, task_queues=[Queue(name=QUEUE, type=QueueType.QUORUM, routing_key=QUEUE)]
    )
    for name, function in (work.TASKS | {"noop": noop, "sleep": sleep, "stamp": stamp}).items():
        broker.register_task(function, task_name=f"bench.{name}")
    for name, function in work.EXAMPLES.items():
        broker.register_task(function, task_name=name)
    return broker


def __getattr__(name: str) -> Any:
    """Make the broker when the worker asks for it, and not for whoever only looks at the class."""
    if name != "broker":
        raise AttributeError(name)
    globals()["broker"] = made = make_broker(here())
    return made
