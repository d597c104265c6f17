"""Tokens as data: how many, where to, and what the broker needs for them."""

from __future__ import annotations

import pytest

from warren.control import Limits
from warren.memory import MemoryTransport
from warren.tokens import GENERATION, token_publications, token_topology
from warren.topology import TOKEN_POLICY, policies, token_queue, topology


@pytest.mark.parametrize(
    ("limits", "slots", "rate"),
    [
        (Limits(queue="media"), 0, 0),
        (Limits(queue="media", concurrency=3, generation=7), 3, 0),
        (Limits(queue="media", rate_count=2, rate_seconds=60, generation=7), 0, 2),
        (Limits(queue="media", concurrency=1, rate_count=4, rate_seconds=60, generation=7), 1, 4),
        (Limits(queue="media", concurrency=0, generation=7), 0, 0),
    ],
)
def test_each_limit_has_as_many_tokens_in_a_queue_of_its_own(limits: Limits, slots: int, rate: int) -> None:
    transport = MemoryTransport()
    transport.start()
    transport.declare(token_topology("media")).result(5)

    for publication in token_publications(limits):
        transport.publish(publication).result(5)

    found = {kind: transport.messages(token_queue("media", kind)) for kind in ("slots", "rate")}
    transport.stop()
    assert {kind: len(messages) for kind, messages in found.items()} == {"slots": slots, "rate": rate}
    assert all(message.headers == {GENERATION: 7} for messages in found.values() for message in messages)


def test_the_topology_of_limited_queues_contains_that_of_their_tokens() -> None:
    whole, part = topology(["media", "default"], limited=["media"]), token_topology("media")

    assert set(part.exchanges) <= set(whole.exchanges)
    assert set(part.queues) == set(whole.queues) - set(topology(["media", "default"]).queues)
    assert set(part.bindings) <= set(whole.bindings)
    assert part.policies[0] in policies()


@pytest.mark.parametrize(
    ("version", "keys"),
    [((3, 10), set()), ((3, 12), {"consumer-timeout"}), ((4, 0), {"consumer-timeout", "delivery-limit"})],
)
def test_a_broker_is_told_of_tokens_what_its_version_takes(version: tuple[int, int], keys: set[str]) -> None:
    assert set(TOKEN_POLICY.definition_for(version)) == keys


def test_a_queue_whose_name_breaks_the_rule_has_no_tokens() -> None:
    with pytest.raises(ValueError, match="a name is 1 to 190 of"):
        token_queue("a.b", "slots")
