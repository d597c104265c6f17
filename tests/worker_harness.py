"""A worker on the in-memory transport, for tests: submit, let it run, look at what came out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from waiting import eventually
from warren.control import Limits, Order, encode_order
from warren.envelope import Envelope, Message, encode, new_job_id
from warren.events import Event, State, decode_batch
from warren.memory import MemoryTransport
from warren.task import Registry
from warren.tokens import token_publications, token_topology
from warren.topology import DEAD, EVENTS, UNROUTABLE, TokenKind, queue_name, token_queue, topology
from warren.transport import Publication, control_publication, job_publication
from warren_worker.meters import Meters
from warren_worker.runner import Worker
from warren_worker.settings import WorkerSettings


class Bench:
    """One worker and the broker it works on."""

    def __init__(self, registry: Registry, *, modules: str = "", **settings: Any) -> None:
        self.registry = registry
        self.transport = MemoryTransport()
        self.transport.start()
        self.transport.declare(topology(["default", *registry.queues()])).result(5)
        self.metrics = CollectorRegistry()
        self.settings = WorkerSettings(name="worker-1", **settings)
        self.worker = Worker(
            self.transport, registry, self.settings, Meters(registry, self.metrics), modules=modules, rng=Random(1)
        )

    def submit(self, task: str, arguments: dict[str, Any] | None = None, **fields: Any) -> str:
        """Publish a job; fields are those of the envelope."""
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
        self.transport.publish(job_publication(envelope)).result(5)
        return envelope.id

    def order(self, order: Order) -> None:
        """Give an order to every worker."""
        self.transport.publish(control_publication(encode_order(order))).result(5)

    def limit(self, queue: str = "default", **limits: Any) -> None:
        """Limit a queue as the server does: first the order, then the tokens."""
        order = Limits(queue=queue, **{"generation": 1, **limits})
        self.transport.declare(token_topology(queue)).result(5)
        self.order(order)
        for publication in token_publications(order):
            self.transport.publish(publication).result(5)

    def tokens(self, kind: TokenKind, queue: str = "default") -> int:
        """Tokens that no worker holds."""
        return len(self.transport.messages(token_queue(queue, kind)))

    def put(self, message: Message) -> None:
        """Publish any message to the default queue."""
        self.transport.publish(Publication(exchange="warren.jobs", routing_key="default", message=message)).result(5)

    def events(self, job: str) -> list[Event]:
        """All events of a job so far."""
        batches = (decode_batch(message) for message in self.transport.messages(EVENTS))
        return [event for batch in batches for event in batch if event.job == job]

    def event(self, job: str, state: State, timeout_seconds: float = 10.0) -> Event:
        """Wait for an event."""
        return eventually(
            lambda: next((event for event in self.events(job) if event.state is state), None), timeout_seconds
        )  # type: ignore[return-value]

    def dead(self, timeout_seconds: float = 10.0) -> Message:
        """Wait for a dead letter."""
        return eventually(lambda: self.transport.messages(DEAD), timeout_seconds)[0]

    def ready(self, queue: str = "default") -> list[Message]:
        """Jobs ready in a queue."""
        return self.transport.messages(queue_name(queue))

    def waiting(self) -> list[Message]:
        """Jobs on the delay ladder."""
        return [message for level in range(22) for message in self.transport.messages(f"warren.delay.{level:02d}")]

    def unsettled(self) -> int:
        """Deliveries the broker still counts as out."""
        return sum(len(each.unsettled) for each in self.transport._subscriptions)

    def is_empty(self) -> bool:
        """Whether nothing is left in the job queue, on the ladder, unroutable or at the worker."""
        return not (self.ready() or self.waiting() or self.transport.messages(UNROUTABLE) or self.unsettled())

    def sample(self, name: str, **labels: str) -> float:
        """Read a metric."""
        return self.metrics.get_sample_value(name, labels) or 0.0


@contextmanager
def running(registry: Registry, *, modules: str = "", **settings: Any) -> Iterator[Bench]:
    """Run a worker for the length of a with-block; it is drained at the end."""
    bench = Bench(registry, modules=modules, **settings)
    bench.worker.start()
    try:
        yield bench
    finally:
        bench.worker.drain(2)
        bench.transport.stop()


def message_of(envelope: Envelope, **headers: Any) -> Message:
    """The wire message of an envelope, with headers replaced."""
    message = encode(envelope)
    return Message(
        **{
            **{name: getattr(message, name) for name in Message.__dataclass_fields__},
            "headers": {**message.headers, **headers},
        }
    )
