"""`python -m warren_worker [--once]`: run a worker until it is told to stop, or for one job.

Exits 0 after a drain, 2 when a setting is wrong, and 128 + signal when told twice.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import time
from collections.abc import Sequence
from typing import Final

from prometheus_client import REGISTRY

from warren.amqp import connect
from warren.amqp.transport import AmqpTransport
from warren.errors import SettingsError, TaskError, WarrenError
from warren.lifecycle import Closing, StopSignal
from warren.logs import configure_logs
from warren.probes import Health, Probes
from warren.settings import BrokerSettings, LifeSettings, LogSettings, TaskSettings, load
from warren.status import encode_status
from warren.task import Registry, load_tasks
from warren_worker.meters import Meters
from warren_worker.runner import Worker
from warren_worker.settings import WorkerSettings

logger = logging.getLogger("warren_worker")


USAGE: Final = "usage: python -m warren_worker [--once]\n"


def main(arguments: Sequence[str] = ()) -> int:
    """Run a worker.

    Args:
        arguments: `--once` or nothing.

    Returns:
        The exit status.
    """
    if list(arguments) not in ([], ["--once"]):
        sys.stderr.write(USAGE)
        return 2
    stop = StopSignal()
    stop.install()
    try:
        return run(stop, once=True if arguments else None)
    except (SettingsError, TaskError) as error:
        sys.stderr.write(f"warren worker: {error}\n")
        return 2


def run(stop: StopSignal, *, once: bool | None = None) -> int:
    """Read the settings, connect, work until told to stop, drain.

    Args:
        stop: Set by a signal.
        once: Beats the setting; None leaves it.

    Raises:
        SettingsError: A setting is wrong.
    """
    settings, life, broker = load(WorkerSettings, once=once), load(LifeSettings), load(BrokerSettings)
    tasks = load(TaskSettings)
    configure_logs(load(LogSettings), worker=settings.worker)
    registry = load_tasks(tasks.tasks)
    if not settings.queues and not len(registry):
        raise SettingsError(
            "WARREN_TASKS is empty and WARREN_WORKER_QUEUES too: there is nothing to work on; "
            "name the modules that declare your tasks in WARREN_TASKS"
        )
    with Closing() as closing:
        transport = connect(broker)
        worker = Worker(transport, registry, settings, Meters(registry), modules=tasks.tasks)
        health = Health(dead=worker.pulse.dead, unready=worker.pulse.unready)
        probes = Probes(life.probe_bind, health, REGISTRY, lambda: encode_status(worker.status))
        probes.start()
        closing.add("probes", probes.stop)
        transport.start()
        closing.add("transport", transport.stop)
        if not prepare(transport, broker, worker.queues, stop, registry.oom_queues()):
            return 0
        finished = _work(worker, registry, settings, life, stop)
    if not finished:
        # Threads still run jobs that were given back; they must not hold up the exit.
        logging.shutdown()
        os._exit(0)
    return 0


def prepare(
    transport: AmqpTransport,
    broker: BrokerSettings,
    queues: list[str],
    stop: StopSignal,
    oom_queues: Sequence[str] = (),
) -> bool:
    """Wait for the broker and see to its queues; a broker that is down or half up is waited for.

    Returns:
        False when told to stop first.
    """
    from warren.amqp import topology

    wait_seconds = 0.5
    while not stop.requested:
        if not transport.wait_ready(0.2):
            continue
        try:
            topology.prepare(transport, broker, queues, oom_queues)
        except WarrenError as error:
            logger.warning("the broker is not ready for work: %s", error, extra={"event": "topology_not_ready"})
            stop.wait(random.uniform(0, wait_seconds))
            wait_seconds = min(wait_seconds * 2, 10.0)
        else:
            return True
    return False


def _work(worker: Worker, registry: Registry, settings: WorkerSettings, life: LifeSettings, stop: StopSignal) -> bool:
    worker.start()
    logger.info(
        "working on %s, %d at once",
        ", ".join(worker.queues),
        settings.slots,
        extra={"event": "worker_started", "queues": worker.queues, "tasks": [task.name for task in registry]},
    )
    if settings.once:
        _wait_for_one(worker, settings.once_wait_seconds, stop)
    else:
        stop.wait()
    finished = worker.drain(life.drain_seconds)
    logger.info("stopped", extra={"event": "worker_stopped", "clean": finished})
    return finished


def _wait_for_one(worker: Worker, seconds: float, stop: StopSignal) -> None:
    """Wait until the worker has run its job, or none came in time."""
    until = time.monotonic() + seconds
    while not stop.wait(0.1):
        status = worker.status
        if status.drained:
            return
        if not status.draining and not status.held and time.monotonic() > until:
            logger.info("no job came within %g s", seconds, extra={"event": "no_job"})
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
