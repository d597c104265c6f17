"""Queues that are limited, on a real broker: their tokens, and what a full one does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from server_kit import registry, store_settings
from waiting import eventually
from warren.amqp import AmqpTransport, connect
from warren.amqp.management import Management
from warren.amqp.topology import prepare
from warren.control import Limits, decode_order
from warren.envelope import Envelope, new_job_id
from warren.errors import QueueFull
from warren.settings import BrokerSettings, with_credentials
from warren.tokens import GENERATION
from warren.topology import CONTROL, Policy, policies, queue_name, token_queue
from warren.transport import Delivery, job_publication
from warren_server import token_audit
from warren_server.app import create_app
from warren_server.parts import Parts, ServerConfig, assemble
from warren_server.settings import AuthSettings, OfferSettings, ServerSettings
from warren_server.tasks import from_registry


@contextmanager
def server(folder: Path, broker: BrokerSettings) -> Iterator[tuple[Parts, Any]]:
    """The parts of one server process on a real broker, and a client of its application."""
    folder.mkdir(exist_ok=True)
    config = ServerConfig(
        server=ServerSettings(),
        store=store_settings(folder),
        broker=broker,
        auth=AuthSettings.model_validate({"auth": "none"}),
        offer=OfferSettings(),
        tasks=from_registry(registry()),
    )
    parts = assemble(config)
    client = create_app(parts).test_client()
    parts.start()
    try:
        eventually(lambda: parts.checks()["broker"], 30)
        yield parts, client
    finally:
        parts.stop()


@pytest.fixture
def transport(amqp: BrokerSettings) -> Iterator[AmqpTransport]:
    made = connect(amqp)
    made.start()
    assert made.wait_ready(20)
    yield made
    made.stop()


def depth(transport: AmqpTransport, queue: str) -> int:
    return transport.depth(queue).result(10).ready


def generations(transport: AmqpTransport, queue: str, count: int) -> Counter[object]:
    """Take all tokens out, look, and put them back."""
    taken: list[Delivery] = []
    subscription = transport.consume(queue, taken.append, prefetch=20_000)
    eventually(lambda: len(taken) >= count, 30)
    subscription.stop().result(10)
    for delivery in taken:
        delivery.nack()
    return Counter(delivery.message.headers[GENERATION] for delivery in taken)


def present(client: Any, kind: str) -> int | None:
    """What the server says there is of a kind of token; None until the broker has counted."""
    found = client.get("/v1/queues/media").json["tokens"].get(kind)
    return None if found is None else int(found["present"])


def orders(transport: AmqpTransport) -> list[Limits]:
    found: list[Any] = []
    subscription = transport.consume(CONTROL, found.append, prefetch=100)
    eventually(lambda: any(isinstance(decode_order(each.message), Limits) for each in list(found)), 10)
    subscription.stop().result(10)
    read = [decode_order(each.message) for each in found]
    return [order for order in read if isinstance(order, Limits)]


def test_ten_thousand_tokens_are_filled_whole_before_workers_are_told(
    tmp_path: Path, amqp: BrokerSettings, transport: AmqpTransport
) -> None:
    with server(tmp_path, amqp) as (_, client):
        began = time.monotonic()
        answer = client.put("/v1/queues/media/limits", json={"concurrency": 10_000, "rate": {"count": 7, "seconds": 5}})
        took = time.monotonic() - began

        assert answer.status_code == 200, answer.json
        assert took < 20
        assert depth(transport, token_queue("media", "slots")) == 10_000
        assert depth(transport, token_queue("media", "rate")) == 7
        assert generations(transport, token_queue("media", "rate"), 7) == {1: 7}
        assert [(order.generation, order.concurrency) for order in orders(transport)] == [(1, 10_000)]
        with Management(amqp) as management:
            assert management.missing_policies(policies()) == []
        eventually(lambda: present(client, "slots") == 10_000, 30)
        assert client.get("/v1/queues/media").json["tokens"]["rate"]["wanted"] == 7


def test_tokens_that_a_broker_lost_are_made_anew_and_told(
    tmp_path: Path, amqp: BrokerSettings, transport: AmqpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the management API takes to count.
    monkeypatch.setattr(token_audit, "PATIENCE_SECONDS", 8.0)
    monkeypatch.setattr("warren_server.parts._AUDIT_SECONDS", 0.5)
    slots = token_queue("media", "slots")
    with server(tmp_path, amqp) as (parts, client):
        client.put("/v1/queues/media/limits", json={"concurrency": 5})
        held: list[Delivery] = []
        subscription = transport.consume(slots, held.append, prefetch=3)
        eventually(lambda: len(held) == 3, 10)
        # Tokens out at a worker are not missing.
        eventually(lambda: present(client, "slots") == 5, 30)
        eventually(lambda: parts.queue_settings.get("media").generation == 1)
        subscription.stop().result(10)
        held[0].ack()
        held[1].nack()
        held[2].nack()

        eventually(lambda: parts.queue_settings.get("media").told_generation == 2, 40)

        assert generations(transport, slots, 9) == {1: 4, 2: 5}
        assert [order.generation for order in orders(transport)][-1] == 2


def test_token_queues_that_were_deleted_come_back(
    tmp_path: Path, amqp: BrokerSettings, transport: AmqpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_audit, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr("warren_server.parts._AUDIT_SECONDS", 0.5)
    slots = token_queue("media", "slots")
    with server(tmp_path, amqp) as (parts, client):
        client.put("/v1/queues/media/limits", json={"concurrency": 5})

        _delete(amqp, slots)

        eventually(lambda: parts.queue_settings.get("media").told_generation == 2, 30)
        assert generations(transport, slots, 5) == {2: 5}


def test_a_server_that_may_not_declare_checks_for_token_queues_and_says_what_is_missing(
    tmp_path: Path, amqp: BrokerSettings, transport: AmqpTransport
) -> None:
    assert amqp.url is not None
    assert amqp.management_url is not None
    prepare(transport, amqp, ["default", "media"])
    vhost = urlsplit(amqp.url.get_secret_value()).path[1:]
    user = f"server-{vhost}"
    with httpx.Client(base_url=amqp.management_url.get_secret_value(), trust_env=False) as admin:
        admin.put(f"/api/users/{user}", json={"password": "secret", "tags": ""}).raise_for_status()
        rights = {"configure": "^$", "write": r"^warren\.", "read": r"^warren\."}
        admin.put(f"/api/permissions/{vhost}/{user}", json=rights).raise_for_status()
        url = with_credentials(amqp.url.get_secret_value(), user, "secret")
        checking = BrokerSettings.model_validate({"url": url, "topology": "check"})
        try:
            with server(tmp_path, checking) as (parts, client):
                refused = client.put("/v1/queues/media/limits", json={"concurrency": 2})
                before = parts.queue_settings.all()
                with server(tmp_path / "other", amqp) as (_, allowed):
                    allowed.put("/v1/queues/media/limits", json={"concurrency": 1})
                taken = client.put("/v1/queues/media/limits", json={"concurrency": 2})
        finally:
            admin.delete(f"/api/users/{quote(user)}").raise_for_status()

    assert (refused.status_code, refused.json["type"]) == (409, "/problems/no-token-queues")
    assert "warren.tokens.media.slots" in refused.json["detail"]
    assert before == {}
    assert taken.status_code == 200


def test_submits_over_the_length_are_refused_and_taken_again_when_there_is_room(
    tmp_path: Path, amqp: BrokerSettings, transport: AmqpTransport
) -> None:
    job = {"task": "greet", "arguments": {"cmd": "hey"}}
    with server(tmp_path, amqp) as (_, client):
        client.put("/v1/queues/default/limits", json={"max_length": 50})
        batch = client.post("/v1/jobs/batch", json={"jobs": [job] * 80}).json["jobs"]
        single = client.post("/v1/jobs", json=job)
        full = depth(transport, queue_name("default"))

        transport.consume(queue_name("default"), lambda delivery: delivery.ack(), prefetch=100)

        eventually(lambda: client.post("/v1/jobs", json=job).status_code == 202, 10)

    assert Counter(item["status"] for item in batch) == {202: 50, 429: 30}
    assert (single.status_code, full) == (429, 50)


def test_two_servers_pass_a_length_by_little(tmp_path: Path, amqp: BrokerSettings, transport: AmqpTransport) -> None:
    job = {"task": "greet", "arguments": {"cmd": "hey"}}
    with server(tmp_path, amqp) as (_, one), server(tmp_path, amqp) as (_, two):
        one.put("/v1/queues/default/limits", json={"max_length": 200})
        eventually(lambda: two.get("/v1/queues/default/limits").json["max_length"] == 200)
        # Both read the limits every second.
        eventually(lambda: _refuses_when_full(two, transport, job), 30)
        reached = depth(transport, queue_name("default"))
        for _ in range(50):
            for client in (one, two):
                assert client.post("/v1/jobs", json=job).status_code == 429

        assert depth(transport, queue_name("default")) == reached


def _refuses_when_full(client: Any, transport: AmqpTransport, job: dict[str, Any]) -> bool:
    client.post("/v1/jobs/batch", json={"jobs": [job] * 40})
    return bool(depth(transport, queue_name("default")) >= 200 and client.post("/v1/jobs", json=job).status_code == 429)


def test_a_length_policy_on_a_job_queue_would_hold_up_the_delayed_jobs_of_all_queues(
    amqp: BrokerSettings, transport: AmqpTransport
) -> None:
    """Why the length is the server's business: see docs/adr/0007-length-limit-at-submit.md."""
    prepare(transport, amqp, ["full", "other"])
    jobs = next(policy for policy in policies() if policy.name == "warren-jobs")
    definition = {**jobs.definition, "max-length": 5}
    limit = Policy(
        name="limit", pattern=f"^{queue_name('full')}$".replace(".", r"\."), apply_to="queues", definition=definition,
        priority=10,
    )  # fmt: skip
    arrived: list[float] = []
    transport.consume(
        queue_name("other"), lambda delivery: (arrived.append(time.monotonic()), delivery.ack()), prefetch=9
    )
    _delay(transport, "other", 1)
    eventually(lambda: len(arrived) == 1, 10)
    with Management(amqp) as management:
        management.apply_policies([limit])
        eventually(lambda: _is_refused(transport, "full"), 30)

        _delay(transport, "full", 40)
        time_up = time.monotonic() + 10
        eventually(lambda: depth(transport, "warren.delay.00") == 0 or time.monotonic() > time_up - 8, 10)
        _delay(transport, "other", 1)
        eventually(lambda: len(arrived) > 1 or time.monotonic() > time_up, 20)

    assert len(arrived) == 1, "the job of another queue came through: a limit by policy may be possible now"


def _is_refused(transport: AmqpTransport, queue: str) -> bool:
    envelope = Envelope(id=new_job_id(), task="greet", queue=queue, body=b"{}")
    return isinstance(transport.publish(job_publication(envelope)).exception(10), QueueFull)


def _delay(transport: AmqpTransport, queue: str, count: int) -> None:
    for confirm in [
        transport.publish(job_publication(Envelope(id=new_job_id(), task="greet", queue=queue, body=b"{}"), 1))
        for _ in range(count)
    ]:
        confirm.result(10)


def _delete(broker: BrokerSettings, queue: str) -> None:
    assert broker.url is not None
    assert broker.management_url is not None
    vhost = urlsplit(broker.url.get_secret_value()).path[1:]
    url = f"{broker.management_url.get_secret_value()}/api/queues/{vhost}/{quote(queue)}"
    httpx.delete(url, trust_env=False).raise_for_status()
