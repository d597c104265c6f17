"""Applying and checking the topology on a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote, urlsplit

import httpx
import pytest

from waiting import eventually
from warren import topology
from warren.amqp import AmqpTransport, connect
from warren.amqp.management import Depths, Management
from warren.amqp.topology import prepare
from warren.cli import findings
from warren.envelope import Envelope, new_job_id
from warren.errors import TopologyError, Unavailable
from warren.settings import BrokerSettings, with_credentials
from warren.topology import queue_name
from warren.transport import Delivery, job_publication


@pytest.fixture
def transport(amqp: BrokerSettings) -> Iterator[AmqpTransport]:
    transport = connect(amqp)
    transport.start()
    assert transport.wait_ready(10)
    yield transport
    transport.stop()


@pytest.fixture
def management(amqp: BrokerSettings) -> Iterator[Management]:
    with Management(amqp) as management:
        yield management


def checking(settings: BrokerSettings) -> BrokerSettings:
    return settings.model_copy(update={"topology": "check"})


def test_preparing_applies_every_policy_and_declares_every_queue(
    amqp: BrokerSettings, transport: AmqpTransport, management: Management
) -> None:
    names = {policy.name for policy in topology.policies()}
    # Brokers before 3.12 need none for tokens.
    assert names - {"warren-tokens"} <= set(management.missing_policies(topology.policies())) <= names

    prepare(transport, amqp, ["mail", "media"])

    assert management.missing_policies(topology.policies()) == []
    declared = {queue.name for queue in topology.topology(["mail", "media"]).queues}
    eventually(lambda: declared <= management.queue_depths().keys())


def test_a_changed_policy_is_found_and_put_right(amqp: BrokerSettings, management: Management) -> None:
    policies = topology.policies()
    management.apply_policies(policies)
    management.apply_policies([replace(policies[0], definition={"delivery-limit": 3})])
    assert management.missing_policies(policies) == [policies[0].name]

    management.apply_policies(policies)

    assert management.missing_policies(policies) == []


def test_the_policies_hold_on_the_queues(
    amqp: BrokerSettings, transport: AmqpTransport, management: Management
) -> None:
    assert amqp.management_url is not None
    assert amqp.url is not None
    prepare(transport, amqp, ["mail"])
    vhost = urlsplit(amqp.url.get_secret_value()).path[1:]

    def policies_in_effect() -> dict[str, str | None]:
        url = f"{amqp.management_url.get_secret_value()}/api/queues/{vhost}"  # type: ignore[union-attr]
        return {queue["name"]: queue.get("policy") for queue in httpx.get(url, trust_env=False).json()}

    expected = {
        queue_name("mail"): "warren-jobs",
        "warren.delay.07": "warren-delay-07",
        **dict.fromkeys(("warren.dead", "warren.events", "warren.unroutable"), "warren-store"),
        "warren.control": "warren-control",
    }
    # The API tells of a queue's policy when the queue next counts itself.
    eventually(lambda: expected.items() <= policies_in_effect().items(), 30)


def test_what_is_in_effect_on_a_queue_is_seen_whatever_policy_beats_ours(
    amqp: BrokerSettings, transport: AmqpTransport, management: Management
) -> None:
    prepare(transport, amqp, ["mail", "media"])
    eventually(lambda: queue_name("mail") in management.behaviour(), 30)
    assert [finding.level for finding in findings.of_behaviour(management.behaviour())] == ["ok"]

    definition: dict[str, str | int] = {"dead-letter-exchange": topology.DEAD, "max-length": 10}
    stranger = topology.Policy(
        name="theirs", pattern=r"^warren\.q\.mail$", apply_to="queues", definition=definition, priority=9
    )
    management.apply_policies([stranger])

    def judged() -> list[str]:
        return [f.message for f in findings.of_behaviour(management.behaviour()) if f.level == "broken"]

    careless, bounded = eventually(lambda: len(found := judged()) == 2 and found, 30)
    assert careless.startswith("warren.q.mail: not at-least-once")
    assert bounded.startswith("warren.q.mail: a length limit")


def test_checking_names_what_is_missing_and_makes_nothing(
    amqp: BrokerSettings, transport: AmqpTransport, management: Management
) -> None:
    with pytest.raises(TopologyError, match=r"warren\.q\.mail .*WARREN_AMQP_TOPOLOGY=apply"):
        prepare(transport, checking(amqp), ["mail"])

    assert management.queue_depths() == {}


def test_a_user_without_configure_right_can_check_and_work(amqp: BrokerSettings, transport: AmqpTransport) -> None:
    assert amqp.url is not None
    assert amqp.management_url is not None
    prepare(transport, amqp, ["mail"])
    vhost = urlsplit(amqp.url.get_secret_value()).path[1:]
    user = f"app-{vhost}"
    with httpx.Client(base_url=amqp.management_url.get_secret_value(), trust_env=False) as admin:
        admin.put(f"/api/users/{user}", json={"password": "s:e/c", "tags": ""}).raise_for_status()
        rights = {"configure": "^$", "write": r"^warren\.", "read": r"^warren\."}
        admin.put(f"/api/permissions/{vhost}/{user}", json=rights).raise_for_status()
        url = with_credentials(amqp.url.get_secret_value(), user, "s:e/c")
        settings = BrokerSettings.model_validate({"url": url, "topology": "check"})
        plain = connect(settings)
        plain.start()
        assert plain.wait_ready(10)

        prepare(plain, settings, ["mail"])
        plain.publish(job_publication(Envelope(id=new_job_id(), task="greet", queue="mail"))).result(10)
        with pytest.raises(TopologyError, match="403"):
            plain.declare(topology.topology(["other"])).result(10)
        assert plain.depth(queue_name("mail")).result(10).ready == 1

        plain.stop()
        admin.delete(f"/api/users/{quote(user)}").raise_for_status()


def test_depths_tell_ready_from_unacknowledged(
    amqp: BrokerSettings, transport: AmqpTransport, management: Management
) -> None:
    prepare(transport, amqp, ["mail"])
    deliveries: list[Delivery] = []
    for _ in range(3):
        transport.publish(job_publication(Envelope(id=new_job_id(), task="greet", queue="mail"))).result(10)

    transport.consume(queue_name("mail"), deliveries.append, prefetch=1)

    expected = Depths(ready=2, unacked=1, consumers=1)
    eventually(lambda: management.queue_depths().get(queue_name("mail")) == expected, timeout_seconds=20)


def test_the_version_is_the_brokers(management: Management) -> None:
    assert tuple(map(int, management.version().split(".")[:2])) >= (3, 10)


def test_a_management_api_that_does_not_answer_is_unavailable() -> None:
    settings = BrokerSettings.model_validate({"management_url": "http://someone:secret@127.0.0.1:9"})

    with Management(settings) as management, pytest.raises(Unavailable) as caught:
        management.version()

    assert "http://127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_login_the_management_api_refuses_is_a_topology_error(amqp: BrokerSettings) -> None:
    assert amqp.management_url is not None
    wrong = with_credentials(amqp.management_url.get_secret_value(), "nobody", "wrong")
    settings = amqp.model_copy(update={"management_url": BrokerSettings(management_url=wrong).management_url})  # type: ignore[arg-type]

    with Management(settings) as management, pytest.raises(TopologyError, match="401"):
        management.version()
