"""`python -m warren_worker`: run a worker until it is told to stop.

Exits 0 after a drain, 2 when a setting is wrong, and 128 + signal when told twice.
"""

from __future__ import annotations

import logging
import os
import random
import sys

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


def main() -> int:
    """Run a worker.

    Returns:
        The exit status.
    """
    stop = StopSignal()
    stop.install()
    try:
        return run(stop)
    except (SettingsError, TaskError) as error:
        sys.stderr.write(f"warren worker: {error}\n")
        return 2


def run(stop: StopSignal) -> int:
    """Read the settings, connect, work until told to stop, drain.

    Raises:
        SettingsError: A setting is wrong.
    """
    settings, life, broker = load(WorkerSettings), load(LifeSettings), load(BrokerSettings)
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
        if not prepare(transport, broker, worker.queues, stop):
            return 0
        finished = _work(worker, registry, settings, life, stop)
    if not finished:
        # Threads still run jobs that were given back; they must not hold up the exit.
        logging.shutdown()
        os._exit(0)
    return 0


def prepare(transport: AmqpTransport, broker: BrokerSettings, queues: list[str], stop: StopSignal) -> bool:
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
            topology.prepare(transport, broker, queues)
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
        settings.concurrency,
        extra={"event": "worker_started", "queues": worker.queues, "tasks": [task.name for task in registry]},
    )
    stop.wait()
    finished = worker.drain(life.drain_seconds)
    logger.info("stopped", extra={"event": "worker_stopped", "clean": finished})
    return finished


if __name__ == "__main__":
    sys.exit(main())
