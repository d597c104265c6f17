"""Real workers, processes of their own, on a real broker: submit, watch events and dead letters, send signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from waiting import eventually
from warren.amqp import connect
from warren.amqp.topology import prepare
from warren.control import Limits, Order, encode_order
from warren.envelope import Envelope, Message, new_job_id
from warren.events import Event, State, decode_batch
from warren.settings import BrokerSettings
from warren.tokens import token_publications, token_topology
from warren.topology import DEAD, EVENTS, TokenKind, queue_name, token_queue
from warren.transport import Delivery, Publication, control_publication, job_publication

TASKS_FOLDER = Path(__file__).parent / "integration"


class WorkerProcess:
    """`python -m warren_worker` with its log in a file."""

    def __init__(self, folder: Path, broker: BrokerSettings, *arguments: str, **environment: str) -> None:
        assert broker.url is not None
        self._log = folder / f"worker-{time.monotonic_ns()}.log"
        management = broker.management_url
        variables = {
            **os.environ,
            "PYTHONPATH": str(TASKS_FOLDER),
            "WARREN_AMQP_URL": broker.url.get_secret_value(),
            **({"WARREN_AMQP_MANAGEMENT_URL": management.get_secret_value()} if management else {}),
            "WARREN_TASKS": "tasks_for_tests",
            "WARREN_WORKER_QUEUES": "default",
            "WARREN_LOG_LEVEL": "debug",
            "WARREN_AMQP_RECONNECT_MAX_SECONDS": "1",
            **environment,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "warren_worker", *arguments], env=variables, cwd=folder, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_ready(self) -> None:
        eventually(lambda: self.get("/readyz") == 200 or self._still_runs(), 30)

    def get(self, path: str) -> int:
        """Ask the probe port; 0 when it is not there."""
        found = re.search(r"http://(127\.0\.0\.1:\d+)", self.log)
        if not found:
            return 0
        try:
            return httpx.get(f"http://{found[1]}{path}", timeout=5, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_seconds: float = 30) -> int:
        return self.process.wait(timeout_seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def _still_runs(self) -> bool:
        assert self.process.poll() is None, self.log
        return False


class Stage:
    """A broker with Warren's topology, workers on it, and the store's view of them."""

    def __init__(self, folder: Path, broker: BrokerSettings) -> None:
        self.folder = folder
        self.broker = broker
        self.workers: list[WorkerProcess] = []
        self.dead: list[Message] = []
        self._events: dict[str, list[Event]] = defaultdict(list)
        self._lock = threading.Lock()
        self.transport = connect(broker)

    def start(self) -> None:
        self.transport.start()
        assert self.transport.wait_ready(20)
        prepare(self.transport, self.broker, ["default"])
        self.transport.consume(EVENTS, self._on_events, prefetch=200)
        self.transport.consume(DEAD, self._on_dead, prefetch=200)

    def stop(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.transport.stop()

    def declare(self, *queues: str) -> None:
        """Make further job queues."""
        prepare(self.transport, self.broker, queues)

    def start_worker(self, *arguments: str, **environment: str) -> WorkerProcess:
        worker = WorkerProcess(self.folder, self.broker, *arguments, **environment)
        self.workers.append(worker)
        return worker

    def submit(self, task: str, arguments: dict[str, Any] | None = None, **fields: Any) -> str:
        return self.submit_later(task, 0, arguments, **fields)

    def submit_later(
        self, task: str, delay_seconds: int, arguments: dict[str, Any] | None = None, **fields: Any
    ) -> str:
        envelope = Envelope(
            **{
                "id": new_job_id(),
                "task": task,
                "queue": "default",
                "body": json.dumps(arguments or {}).encode(),
                "enqueued_ms": int(time.time() * 1000),
                **fields,
            }
        )
        self.transport.publish(job_publication(envelope, delay_seconds), wait_seconds=5).result(10)
        return envelope.id

    def order(self, order: Order) -> None:
        """Give an order to every worker."""
        self.transport.publish(control_publication(encode_order(order)), wait_seconds=5).result(10)

    def limit(self, queue: str = "default", **limits: Any) -> None:
        """Limit a queue as the server does: first the order, then the tokens."""
        order = Limits(queue=queue, **{"generation": 1, **limits})
        self.transport.declare(token_topology(queue)).result(10)
        self.order(order)
        for publication in token_publications(order):
            self.transport.publish(publication, wait_seconds=5).result(10)

    def tokens(self, kind: TokenKind, queue: str = "default") -> int:
        """Tokens that no worker holds."""
        return self.transport.depth(token_queue(queue, kind)).result(10).ready

    def put(self, message: Message) -> None:
        publication = Publication(exchange="warren.jobs", routing_key="default", message=message)
        self.transport.publish(publication, wait_seconds=5).result(10)

    def events(self, job: str) -> list[Event]:
        with self._lock:
            return list(self._events[job])

    def event(self, job: str, state: State, timeout_seconds: float = 30) -> Event:
        return eventually(
            lambda: next((event for event in self.events(job) if event.state is state), None), timeout_seconds
        )  # type: ignore[return-value]

    def ready(self) -> int:
        return self.transport.depth(queue_name("default")).result(10).ready

    def _on_events(self, delivery: Delivery) -> None:
        with self._lock:
            for event in decode_batch(delivery.message):
                self._events[event.job].append(event)
        delivery.ack()

    def _on_dead(self, delivery: Delivery) -> None:
        with self._lock:
            self.dead.append(delivery.message)
        delivery.ack()


@contextmanager
def stage_on(folder: Path, broker: BrokerSettings) -> Iterator[Stage]:
    """Set a stage for the length of a with-block."""
    stage = Stage(folder, broker)
    stage.start()
    try:
        yield stage
    finally:
        stage.stop()


def terminate(worker: WorkerProcess) -> int:
    """Stop a worker as Kubernetes does, and return its exit status."""
    worker.signal(signal.SIGTERM)
    return worker.wait()
