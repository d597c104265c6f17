"""The AMQP transport on a real broker that misbehaves: connections killed, queues deleted, peers that say nothing."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from tcp_proxy import Proxy
from waiting import eventually
from warren import topology
from warren.amqp import AmqpTransport, connect
from warren.amqp.management import Management
from warren.amqp.topology import prepare
from warren.envelope import Envelope, new_job_id
from warren.errors import OutcomeUnknown, TransportError, Unavailable
from warren.settings import BrokerSettings
from warren.topology import queue_name
from warren.transport import Delivery, Publication, job_publication

WORK = queue_name("work")


def job(body: bytes = b"{}") -> Publication:
    return job_publication(Envelope(id=new_job_id(), task="greet", queue="work", body=body))


@pytest.fixture
def admin(amqp: BrokerSettings) -> Iterator[httpx.Client]:
    """The management API of the test's broker."""
    assert amqp.management_url is not None
    with httpx.Client(base_url=amqp.management_url.get_secret_value(), trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def transport(amqp: BrokerSettings) -> Iterator[AmqpTransport]:
    transport = connect(amqp.model_copy(update={"reconnect_max_seconds": 1.0}))
    transport.start()
    assert transport.wait_ready(10)
    prepare(transport, amqp, ["work"])
    yield transport
    transport.stop()


def vhost_of(settings: BrokerSettings) -> str:
    assert settings.url is not None
    return quote(urlsplit(settings.url.get_secret_value()).path[1:], safe="")


def kill_connections(admin: httpx.Client, settings: BrokerSettings) -> int:
    """Close all connections of the test's virtual host, as an operator would, and return how many."""
    names = [item["name"] for item in admin.get(f"/api/vhosts/{vhost_of(settings)}/connections").json()]
    for name in names:
        admin.delete(f"/api/connections/{quote(name, safe='')}", headers={"X-Reason": "test"})
    return len(names)


def test_lost_connections_lose_nothing_while_publishing_and_consuming(
    amqp: BrokerSettings, admin: httpx.Client
) -> None:
    numbers, enough = itertools.count(), threading.Event()
    taken: set[bytes] = set()
    received: set[bytes] = set()

    def take(delivery: Delivery) -> None:
        received.add(delivery.message.body)
        delivery.ack()

    def publish_much(transport: AmqpTransport) -> None:
        """Do what a careful caller does: send again whenever the broker may not have it."""
        while not enough.is_set():
            body = b"%d" % next(numbers)
            while not _is_taken(transport, body):
                continue
            taken.add(body)

    with Proxy.before(amqp) as proxy:
        transport = connect(proxy.settings.model_copy(update={"reconnect_max_seconds": 0.5}))
        transport.start()
        assert transport.wait_ready(10)
        prepare(transport, amqp, ["work"])
        transport.consume(WORK, take, prefetch=20)
        with ThreadPoolExecutor(8) as threads:
            publishers = [threads.submit(publish_much, transport) for _ in range(8)]
            for cut in range(1, 6):
                eventually(lambda cut=cut: len(received) > cut * 200, timeout_seconds=20)
                proxy.cut()
            eventually(lambda: kill_connections(admin, amqp), timeout_seconds=20)
            after_kill = len(taken)
            eventually(lambda: len(taken) > after_kill + 200, timeout_seconds=20)
            enough.set()
            for publisher in publishers:
                publisher.result(30)
        eventually(lambda: taken <= received, timeout_seconds=20)
        transport.stop()

    assert taken == received


def _is_taken(transport: AmqpTransport, body: bytes) -> bool:
    try:
        transport.publish(job(body), wait_seconds=10).result(20)
    except (Unavailable, OutcomeUnknown):
        return False
    return True


def test_a_subscription_is_active_again_after_its_connection_was_killed(
    amqp: BrokerSettings, admin: httpx.Client, transport: AmqpTransport
) -> None:
    deliveries: list[Delivery] = []
    subscription = transport.consume(WORK, deliveries.append, prefetch=1)
    transport.publish(job()).result(10)
    eventually(lambda: deliveries)

    eventually(lambda: kill_connections(admin, amqp) == 2, timeout_seconds=20)

    eventually(lambda: len(deliveries) == 2, timeout_seconds=20)
    assert not deliveries[0].alive
    deliveries[0].ack()
    assert deliveries[1].redelivered
    assert deliveries[1].alive
    eventually(lambda: subscription.active)
    deliveries[1].ack()


def test_a_consumer_resumes_when_its_deleted_queue_is_declared_again(
    amqp: BrokerSettings, admin: httpx.Client, transport: AmqpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    bodies: list[bytes] = []

    def take(delivery: Delivery) -> None:
        bodies.append(delivery.message.body)
        delivery.ack()

    subscription = transport.consume(WORK, take, prefetch=5)
    transport.publish(job(b"before")).result(10)
    eventually(lambda: bodies == [b"before"])

    admin.delete(f"/api/queues/{vhost_of(amqp)}/{WORK}").raise_for_status()
    eventually(lambda: not subscription.active)
    transport.declare(topology.topology(["work"])).result(60)
    transport.publish(job(b"after")).result(10)

    eventually(lambda: bodies == [b"before", b"after"], timeout_seconds=20)
    assert subscription.active
    assert any(getattr(record, "event", "") == "broker_consumer_lost" for record in caplog.records)


def test_a_consumer_that_times_out_gets_a_new_channel(amqp: BrokerSettings, transport: AmqpTransport) -> None:
    with Management(amqp) as management:
        version = management.version()
    if tuple(map(int, version.split(".")[:2])) < (4, 3):
        pytest.skip(f"RabbitMQ {version} looks for timed out consumers once a minute or not at all; 4.3 at once")
    deliveries: list[Delivery] = []
    transport.publish(job(b"stuck")).result(10)

    transport.consume(WORK, deliveries.append, prefetch=1, consumer_timeout_seconds=1)

    eventually(lambda: len(deliveries) == 2, timeout_seconds=30)
    assert not deliveries[0].alive
    assert deliveries[1].redelivered
    deliveries[1].ack()


def test_a_silent_peer_is_given_up_and_the_outcome_is_unknown(amqp: BrokerSettings) -> None:
    with Proxy.before(amqp) as proxy:
        transport = connect(proxy.settings.model_copy(update={"heartbeat_seconds": 5}))
        transport.start()
        assert transport.wait_ready(10)
        prepare(transport, amqp, ["work"])
        transport.publish(job()).result(10)

        proxy.freeze()
        lost = transport.publish(job())
        with pytest.raises(OutcomeUnknown):
            lost.result(30)
        assert not transport.status.connected
        proxy.thaw()

        assert transport.wait_ready(20)
        transport.publish(job()).result(10)
        transport.stop()


def test_a_cut_connection_fails_what_was_written_as_unknown_and_mends(amqp: BrokerSettings) -> None:
    with Proxy.before(amqp) as proxy:
        transport = connect(proxy.settings)
        transport.start()
        assert transport.wait_ready(10)
        prepare(transport, amqp, ["work"])

        proxy.freeze()
        written = transport.publish(job())
        eventually(lambda: proxy.held_bytes > 0)
        proxy.cut()

        with pytest.raises(OutcomeUnknown, match="never confirmed"):
            written.result(10)
        with pytest.raises(Unavailable):
            transport.publish(job())
        proxy.thaw()
        transport.publish(job(), wait_seconds=20).result(10)
        transport.stop()


def test_a_peer_that_accepts_and_never_answers_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        transport = connect(BrokerSettings(host="127.0.0.1", port=port))
        transport.start()

        assert not transport.wait_ready(0.3)
        with pytest.raises(Unavailable):
            transport.publish(job(), wait_seconds=0.1)
        with pytest.raises(Unavailable):
            transport.depth(WORK).result(5)
        started = time.monotonic()
        transport.stop()

        assert time.monotonic() - started < 3
        assert set(threading.enumerate()) <= before


def test_a_peer_that_speaks_another_protocol_is_retried_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        accepting = threading.Thread(target=_answer_http, args=(web,), daemon=True)
        accepting.start()
        transport = connect(BrokerSettings(host="127.0.0.1", port=web.getsockname()[1]))
        transport.start()

        eventually(lambda: _attempts(caplog) >= 2, timeout_seconds=20)

        transport.stop()
        web.shutdown(socket.SHUT_RDWR)
        accepting.join(5)


def _answer_http(server: socket.socket) -> None:
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return
        with peer:
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_wrong_password_is_logged_clearly_and_tried_again_with_the_files_new_content(
    amqp: BrokerSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert amqp.url is not None
    right = str(urlsplit(amqp.url.get_secret_value()).password)
    password = tmp_path / "password"
    password.write_text("wrong-secret\n")
    caplog.set_level(logging.DEBUG, logger="warren")
    transport = connect(amqp.model_copy(update={"password_file": password, "reconnect_max_seconds": 0.5}))
    transport.start()

    eventually(lambda: _attempts(caplog) >= 4, timeout_seconds=30)
    password.write_text(right)

    assert transport.wait_ready(20)
    transport.stop()
    assert "the broker refused the login; check the user name and password" in caplog.text
    assert "wrong-secret" not in caplog.text


def test_a_password_file_that_is_not_there_yet_is_waited_for(
    amqp: BrokerSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert amqp.url is not None
    password = tmp_path / "password"
    transport = connect(amqp.model_copy(update={"password_file": password, "reconnect_max_seconds": 0.5}))
    transport.start()
    eventually(lambda: f"credential file {password} cannot be read" in caplog.text)

    password.write_text(str(urlsplit(amqp.url.get_secret_value()).password))

    assert transport.wait_ready(20)
    transport.stop()


def test_a_subscription_can_be_stopped_without_a_connection(amqp: BrokerSettings) -> None:
    with Proxy.before(amqp) as proxy:
        transport = connect(proxy.settings.model_copy(update={"reconnect_max_seconds": 0.5}))
        transport.start()
        assert transport.wait_ready(10)
        prepare(transport, amqp, ["work"])
        stays, goes = (transport.consume(WORK, lambda delivery: delivery.ack(), prefetch=1) for _ in range(2))
        eventually(lambda: stays.active and goes.active)
        proxy.freeze()
        proxy.cut()
        eventually(lambda: not goes.active)

        goes.stop().result(5)
        proxy.thaw()

        eventually(lambda: stays.active, timeout_seconds=20)
        assert not goes.active
        eventually(lambda: transport.depth(WORK).result(5).consumers == 1)
        transport.stop()


def test_a_virtual_host_that_is_not_there_is_named_as_the_cause(
    amqp: BrokerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    assert amqp.url is not None
    nowhere = SecretStr(amqp.url.get_secret_value() + "-nowhere")
    transport = connect(amqp.model_copy(update={"url": nowhere, "reconnect_max_seconds": 0.5}))
    transport.start()

    eventually(lambda: _attempts(caplog) >= 2, timeout_seconds=30)

    transport.stop()
    assert "virtual host" in caplog.text or "vhost" in caplog.text


def test_a_transport_of_another_process_is_refused(transport: AmqpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("warren.amqp.transport.os.getpid", lambda: 1)

        with pytest.raises(TransportError, match="is used in 1; make and start one in each process"):
            transport.publish(job())


def test_a_publish_may_be_abandoned_by_its_caller(transport: AmqpTransport) -> None:
    futures = [transport.publish(job()) for _ in range(50)]
    for future in futures[::2]:
        future.cancel()

    eventually(lambda: transport.status.unconfirmed == 0)

    assert transport.depth(WORK).result(5).ready == 50
    transport.publish(job()).result(5)


def _attempts(caplog: pytest.LogCaptureFixture) -> int:
    return sum(getattr(record, "event", "") == "broker_unavailable" for record in caplog.records)
