"""Routing inside the in-memory broker."""

from __future__ import annotations

import pytest

from warren.memory_broker import Broker, topic_matches
from warren.topology import Binding, Exchange, Policy, Queue, Topology


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("*.b", "a.b", True),
        ("*", "a.b", False),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("#.mail", "mail", True),
        ("#.mail", "0.1.mail", True),
        ("#.mail", "0.1.e-mail", False),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.b.c", True),
        ("a.#.c", "a.b.b", False),
        ("*.1.#", "0.1.x", True),
        ("*.1.#", "0.0.1.x", False),
    ],
)
def test_a_topic_pattern_fits_as_the_specification_says(pattern: str, key: str, fits: bool) -> None:
    assert topic_matches(pattern, key) is fits


def test_exchanges_bound_in_a_circle_do_not_loop() -> None:
    broker = Broker()
    broker.declare(
        Topology(
            exchanges=(Exchange(name="a", type="fanout"), Exchange(name="b", type="fanout")),
            queues=(Queue(name="q"),),
            bindings=(
                Binding(source="a", destination="b", to="exchange"),
                Binding(source="b", destination="a", to="exchange"),
                Binding(source="b", destination="q"),
            ),
            policies=(),
        )
    )

    assert broker.route("a", "key") == {"q"}


def test_the_policy_of_the_highest_priority_holds() -> None:
    broker = Broker()
    limits = tuple(
        Policy(name=f"p{n}", pattern="^q$", apply_to="queues", priority=n, definition={"max-length": n})
        for n in (0, 5, 3)
    )
    broker.declare(Topology(exchanges=(), queues=(Queue(name="q"),), bindings=(), policies=limits))

    assert not broker.is_full("q")
    assert broker._policy("q", "queues") == {"max-length": 5}
