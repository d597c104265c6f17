"""The queues that jobs go to when they run out of memory: shown with their tasks, made or looked for at the start."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import httpx
import pytest

from warren import topology
from warren.amqp import topology as on_broker
from warren.amqp.transport import AmqpTransport
from warren.client import Client
from warren.errors import TopologyError
from warren.settings import BrokerSettings
from warren.task import Registry, task
from warren_server.api import views
from warren_server.api.documents import TaskDocument
from warren_server.tasks import from_registry


class Broker:
    """Answers what is there and what is not, as a broker does to those that may make nothing."""

    def __init__(self, *queues: str) -> None:
        there = topology.topology(queues)
        self.names = {thing.name for thing in (*there.exchanges, *there.queues)}

    def look(self, thing: topology.Exchange | topology.Queue) -> Future[None]:
        answer: Future[None] = Future()
        if thing.name in self.names:
            answer.set_result(None)
        else:
            answer.set_exception(TopologyError(f"404 no {thing.name}"))
        return answer


def prepare(broker: Broker, queues: list[str], oom_queues: list[str]) -> None:
    settings = BrokerSettings(topology="check")
    on_broker.prepare(cast("AmqpTransport", broker), settings, queues, oom_queues)


def test_a_larger_queue_that_is_missing_is_warned_of_and_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    prepare(Broker("default", "huge"), ["default"], ["huge", "large"])

    [record] = [each for each in caplog.records if getattr(each, "event", "") == "oom_queue_missing"]
    assert record.__dict__["queue"] == "large"
    assert "warren.unroutable" in record.getMessage()


def test_a_queue_that_is_worked_on_must_be_there_even_if_it_is_a_larger_one() -> None:
    with pytest.raises(TopologyError, match=r"warren\.q\.large"):
        prepare(Broker("default"), ["default", "large"], ["large"])


def test_nothing_is_said_when_all_are_there(caplog: pytest.LogCaptureFixture) -> None:
    prepare(Broker("default", "large"), ["default"], ["large"])

    assert not caplog.records


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @task(registry=made, isolation="process", oom_queue="large")
    def report() -> None: ...

    @task(registry=made)
    def greet() -> None: ...

    return made


def test_a_server_knows_the_larger_queue_of_a_task(registry: Registry) -> None:
    known = from_registry(registry)

    assert [(each.name, each.oom_queue) for each in known.all()] == [("greet", None), ("report", "large")]
    assert (known.queues(), known.oom_queues()) == (["default"], ["large"])


def test_the_api_and_the_client_show_it(registry: Registry) -> None:
    listed: list[dict[str, Any]] = [views.task(known) for known in from_registry(registry).all()]

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"tasks": listed})

    with Client("http://server", transport=httpx.MockTransport(answer)) as client:
        seen = {each.name: each.oom_queue for each in client.tasks()}
    assert {entry["name"]: entry["oom_queue"] for entry in listed} == {"greet": None, "report": "large"}
    assert seen == {"greet": None, "report": "large"}
    assert all(TaskDocument.model_validate(entry) for entry in listed)
