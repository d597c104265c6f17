"""The AMQP transport on a node of its own, which the tests stop, starve and start again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually
from warren.amqp import AmqpTransport, connect
from warren.amqp.topology import prepare
from warren.envelope import Envelope, new_job_id
from warren.errors import Blocked, Unavailable
from warren.local.node import PrivateNode, find_server
from warren.settings import BrokerSettings
from warren.topology import queue_name
from warren.transport import Delivery, Publication, job_publication

WORK = queue_name("work")


def job(body: bytes = b"{}") -> Publication:
    return job_publication(Envelope(id=new_job_id(), task="greet", queue="work", body=body))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateNode]:
    node = PrivateNode(tmp_path_factory.mktemp("own-node"))
    node.start()
    yield node
    node.stop()


@pytest.fixture
def settings(node: PrivateNode) -> BrokerSettings:
    return BrokerSettings.model_validate(
        {"url": node.url, "management_url": node.management_url, "reconnect_max_seconds": 1}
    )


@pytest.fixture
def transport(settings: BrokerSettings) -> Iterator[AmqpTransport]:
    transport = connect(settings)
    transport.start()
    assert transport.wait_ready(10)
    prepare(transport, settings, ["work"])
    yield transport
    transport.stop()


def ctl(node: PrivateNode, *command: str) -> None:
    server = find_server()
    assert server is not None
    subprocess.run(
        [str(server.with_name("rabbitmqctl")), "--quiet", *command],
        env=node._environment(),
        check=True,
        capture_output=True,
        timeout=60,
    )


def test_a_memory_alarm_refuses_publishes_while_consuming_goes_on(
    node: PrivateNode, transport: AmqpTransport, settings: BrokerSettings
) -> None:
    deliveries: list[Delivery] = []
    transport.publish(job(b"before")).result(10)

    ctl(node, "set_vm_memory_high_watermark", "absolute", "1")
    under_alarm = transport.publish(job(b"during"))
    eventually(lambda: transport.status.blocked)

    with pytest.raises(Blocked):
        transport.publish(job())
    with pytest.raises(Blocked):
        transport.publish(job(), wait_seconds=5)
    assert transport.status.connected
    subscription = transport.consume(WORK, deliveries.append, prefetch=1)
    eventually(lambda: deliveries)
    assert transport.depth(WORK).result(5).consumers == 1
    assert not under_alarm.done()

    ctl(node, "set_vm_memory_high_watermark", "0.6")
    under_alarm.result(20)
    eventually(lambda: not transport.status.blocked)
    transport.publish(job(b"after")).result(10)
    deliveries[0].ack()
    eventually(lambda: len(deliveries) == 2)
    deliveries[1].ack()
    eventually(lambda: len(deliveries) == 3)
    deliveries[2].ack()
    subscription.stop().result(10)
    assert [delivery.message.body for delivery in deliveries] == [b"before", b"during", b"after"]


def test_stopping_during_an_alarm_does_not_hang(node: PrivateNode, settings: BrokerSettings) -> None:
    transport = connect(settings)
    transport.start()
    assert transport.wait_ready(10)
    prepare(transport, settings, ["work"])
    ctl(node, "set_vm_memory_high_watermark", "absolute", "1")
    try:
        held = transport.publish(job())
        eventually(lambda: transport.status.blocked)

        transport.stop(timeout_seconds=0.2)

        assert held.exception(0) is not None
    finally:
        ctl(node, "set_vm_memory_high_watermark", "0.6")


def test_a_restarted_broker_is_waited_for_and_work_resumes(
    node: PrivateNode, transport: AmqpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    bodies: list[bytes] = []

    def take(delivery: Delivery) -> None:
        bodies.append(delivery.message.body)
        delivery.ack()

    subscription = transport.consume(WORK, take, prefetch=1)
    eventually(lambda: subscription.active)

    node.stop()
    eventually(lambda: not transport.status.connected)
    with pytest.raises(Unavailable):
        transport.publish(job())
    assert not subscription.active
    node.start()

    transport.publish(job(b"after"), wait_seconds=20).result(20)
    eventually(lambda: b"after" in bodies, timeout_seconds=20)
    attempts = [record for record in caplog.records if getattr(record, "event", "") == "broker_unavailable"]
    assert len(attempts) >= 2
    assert all("next try in" in record.getMessage() for record in attempts)


def test_a_broker_that_is_down_at_start_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = PrivateNode(tmp_path / "late")
    node.start()
    url = node.url
    node.stop()
    transport = connect(BrokerSettings.model_validate({"url": url, "reconnect_max_seconds": 1}))
    transport.start()
    assert not transport.wait_ready(0.5)
    assert any("Connection refused" in record.getMessage() for record in caplog.records)

    node.start()

    assert transport.wait_ready(20)
    transport.stop()
    node.stop()
