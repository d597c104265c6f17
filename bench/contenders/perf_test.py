"""RabbitMQ's own PerfTest: what a Java client does with the same broker. It runs no tasks.

https://perftest.rabbitmq.com/
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar, Final
from xml.etree import ElementTree as ET

from bench.contender import Command, Contender, Publisher
from bench.errors import BenchError
from bench.place import Place
from bench.wire import WINDOW

if TYPE_CHECKING:
    from bench.drain import Drained
    from bench.stage import Stage

PREFETCH: Final = 1000
ACK_EVERY: Final = 100
PAYLOAD: Final = 64
_RATE: Final = re.compile(r"(sending|receiving) rate avg: (\d+) msg/s")
_RUN_SECONDS: Final = 180.0


class PerfTest(Contender):
    """PerfTest, when there is Java, and Maven to bring it."""

    name = "perf-test"
    title = "PerfTest"
    environment = "warren"
    settings: ClassVar = {
        "publish": f"`--flag persistent --flag mandatory`, `--confirm 1` or `--confirm {WINDOW}`; bare bodies, no JSON",
        "worker": f"one Java process with as many consumers, `--qos {PREFETCH} --multi-ack-every {ACK_EVERY}`; runs "
        "no tasks; its rates are its own averages, the JVM's warm-up included",
    }
    queue = "bench"
    measures = frozenset({"publish", "worker"})
    tasks = frozenset({"noop"})
    pace = 20.0

    def absence(self, stage: Stage) -> str:  # noqa: ARG002
        """Say that there is no Java or no Maven."""
        from bench.peers import perf_test_jars

        try:
            perf_test_jars()
        except BenchError as error:
            return str(error)
        return ""

    def versions(self, stage: Stage) -> Mapping[str, str]:
        """Read the pin, and ask Java."""
        from bench.peers import POM

        version = ET.parse(POM).findtext(".//{*}dependency/{*}version", "?")  # noqa: S314 - our own file
        said = stage.finish(self, _java("-version"), stage.log("java-version"), 60)
        return {"perf-test": version, "Java": said.partition("\n")[0].strip()}

    def prepare(self, place: Place) -> None:
        """Nothing: the first publish declares the queue."""

    def publisher(self, place: Place) -> AbstractContextManager[Publisher]:
        """Refuse: it is no Python."""
        raise NotImplementedError

    def workers(self, place: Place, processes: int) -> list[Command]:
        """Refuse: it runs no tasks."""
        raise NotImplementedError

    def publish(self, stage: Stage, orders: list[dict[str, Any]]) -> list[dict[str, float]]:
        """Publish for so many seconds."""
        place = stage.place(self)
        answers = []
        for order in orders:
            window = 1 if order["mode"] == "one" else WINDOW
            seconds = max(round(order["seconds"]), 1)
            limits = ("--time", str(seconds), "--size", str(order["payload"]))
            answers.append({"rate": self._run(stage, place, *_publishing(window), *limits)})
            stage.purge(self, place)
        return answers

    def drain(self, stage: Stage, task: str, jobs: int) -> Drained:  # noqa: ARG002
        """Fill the queue, and consume it with as many consumers as others have processes."""
        from bench.drain import Drained

        place = stage.place(self)
        consumers = stage.size.processes
        share = str(jobs // consumers)
        # A consumer that has its share keeps what else it holds: there must be so much more.
        fill = ("--pmessages", str((int(share) + PREFETCH) * consumers), "--size", str(PAYLOAD))
        self._run(stage, place, *_publishing(WINDOW), *fill)
        consume = ("--producers", "0", "--consumers", str(consumers), "--cmessages", share)
        acks = ("--qos", str(PREFETCH), "--multi-ack-every", str(ACK_EVERY))
        rate = self._run(stage, place, *consume, *acks)
        stage.purge(self, place)
        return Drained(rate=rate)

    def _run(self, stage: Stage, place: Place, *options: str) -> float:
        from bench.peers import perf_test_jars

        where = ("--uri", place.amqp_url, "--queue", self.queue, "--quorum-queue", "--auto-delete", "false")
        command = _java("-cp", f"{perf_test_jars()}/*", "com.rabbitmq.perf.PerfTest", *where, *options)
        printed = stage.finish(self, command, stage.log("perf-test", place), _RUN_SECONDS, place)
        return average(printed, "receiving" if "--cmessages" in options else "sending")


def average(printed: str, side: str) -> float:
    """Return the average that PerfTest printed in its last lines.

    Raises:
        BenchError: There is none.
    """
    found = [int(rate) for which, rate in _RATE.findall(printed) if which == side]
    if not found:
        raise BenchError(f"PerfTest told no {side} rate: {printed[-300:]!r}")
    return float(found[-1])


def _publishing(window: int) -> tuple[str, ...]:
    safe = ("--flag", "persistent", "--flag", "mandatory", "--confirm", str(window))
    return ("--producers", "1", "--consumers", "0", *safe)


def _java(*arguments: str) -> Command:
    return Command(name="java", program=shutil.which("java") or "java", arguments=arguments)
