"""Exchanges, queues and bindings, walked the way the broker walks them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warren.delay import LEVELS, MAX_SECONDS
from warren.topology import DUE, JOBS, Topology, policies, queue_name, route, topology

SUFFIXES = ["b", "a-b", "0-b", "1", "0", "01", "a", "b-a"]
"""Names that end in one another, and names that look like bits."""


def matches(pattern: str, key: str) -> bool:
    """Match a routing key as a topic exchange does: `*` is one word, `#` any number of words."""

    def match(wanted: list[str], words: list[str]) -> bool:
        if not wanted:
            return not words
        if wanted[0] == "#":
            return any(match(wanted[1:], words[skip:]) for skip in range(len(words) + 1))
        return bool(words) and wanted[0] in ("*", words[0]) and match(wanted[1:], words[1:])

    return match(pattern.split("."), key.split("."))


class Walker:
    """Routes like the broker, taking dead-letter exchanges and times to live from the policies."""

    def __init__(self, described: Topology) -> None:
        self.described = described
        self.types = {exchange.name: exchange.type for exchange in described.exchanges}

    def routed(self, exchange: str, key: str) -> set[str]:
        """Return the queues a message reaches; a message reaches each at most once."""
        found: set[str] = set()
        for binding in self.described.bindings:
            kind = self.types[exchange]
            if binding.source != exchange or not (
                kind == "fanout" or (kind == "direct" and binding.key == key) or matches(binding.key, key)
            ):
                continue
            found |= self.routed(binding.destination, key) if binding.to == "exchange" else {binding.destination}
        return found

    def delivered(self, exchange: str, key: str) -> tuple[list[str], int]:
        """Return the queues where a message comes to rest, and the seconds it waited on the way."""
        resting: list[str] = []
        waited = 0
        for queue in self.routed(exchange, key):
            definition = self.policy(queue)
            if "message-ttl" not in definition:
                resting.append(queue)
                continue
            further, more = self.delivered(str(definition["dead-letter-exchange"]), key)
            resting += further
            waited += int(definition["message-ttl"]) // 1000 + more
        return resting, waited

    def policy(self, queue: str) -> dict[str, str | int]:
        for policy in self.described.policies:
            if policy.apply_to == "queues" and re.search(policy.pattern, queue):
                return policy.definition
        return {}


WALKER = Walker(topology(SUFFIXES))


@settings(max_examples=40, deadline=None)
@given(
    delay=st.one_of(st.integers(1, MAX_SECONDS), st.integers(0, LEVELS - 1).map(lambda level: 1 << level)),
    queue=st.sampled_from(SUFFIXES),
)
def test_a_delayed_job_waits_its_time_and_reaches_its_queue_once_and_no_other(delay: int, queue: str) -> None:
    exchange, key = route(queue, delay)

    resting, waited = WALKER.delivered(exchange, key)

    assert resting == [queue_name(queue)]
    assert waited == delay


@pytest.mark.parametrize("queue", SUFFIXES)
def test_a_job_without_delay_goes_straight_to_its_queue(queue: str) -> None:
    exchange, key = route(queue)

    assert (exchange, WALKER.delivered(exchange, key)) == (JOBS, ([queue_name(queue)], 0))


def test_a_delayed_job_for_a_queue_that_is_gone_finds_none_so_the_alternate_exchange_takes_it() -> None:
    resting, waited = WALKER.delivered(*route("gone", 5))

    assert (resting, waited) == ([], 5)
    definition = next(policy.definition for policy in policies() if policy.name == "warren-due")
    assert definition["alternate-exchange"] == "warren.unroutable"


def test_every_queue_that_hands_on_does_so_at_least_once_and_refuses_when_full() -> None:
    handing_on = [policy.definition for policy in policies() if "dead-letter-exchange" in policy.definition]

    assert len(handing_on) == LEVELS + 1
    assert {definition["dead-letter-strategy"] for definition in handing_on} == {"at-least-once"}
    assert {definition["overflow"] for definition in handing_on} == {"reject-publish"}


def test_each_queue_has_exactly_one_policy() -> None:
    described = topology(["default", "due", "dead", "delay-00"], limited=["default", "due"])

    for queue in described.queues:
        fitting = [p for p in described.policies if p.apply_to == "queues" and re.search(p.pattern, queue.name)]
        assert len(fitting) == 1, queue.name


def test_what_is_bound_is_declared() -> None:
    described = topology(["default"], limited=["default"])
    exchanges = {exchange.name for exchange in described.exchanges}
    queues = {queue.name for queue in described.queues}

    for binding in described.bindings:
        assert binding.source in exchanges
        assert binding.destination in (queues if binding.to == "queue" else exchanges)
    assert DUE in exchanges


def test_a_queue_named_twice_is_declared_once() -> None:
    assert topology(["a", "a"]) == topology(["a"])


@pytest.mark.parametrize("name", ["", "a.b", "#", "*", "A", "-a", "a\n", "ä", "a" * 191, "amq.default"])
def test_a_name_that_could_confuse_the_broker_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name is 1 to 190 of"):
        topology([name])


def test_the_longest_name_still_fits_a_routing_key() -> None:
    _, key = route("q" * 190, MAX_SECONDS)

    assert len(key) <= 255
