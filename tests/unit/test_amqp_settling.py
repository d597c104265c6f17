"""Few ack frames, and never one that settles what was not acked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from warren.amqp.settling import Acks


def test_a_contiguous_run_is_one_frame() -> None:
    assert Acks().plan([3, 1, 2]) == [(3, True)]


def test_one_delivery_needs_no_multiple() -> None:
    assert Acks().plan([1]) == [(1, False)]


def test_what_lies_beyond_a_gap_is_acked_singly() -> None:
    acks = Acks()

    assert acks.plan([1, 2, 4, 6]) == [(2, True), (4, False), (6, False)]
    assert acks.plan([3]) == [(3, False)]
    assert acks.plan([5, 7]) == [(7, True)]


def test_a_nacked_delivery_does_not_break_the_run() -> None:
    acks = Acks()
    acks.settled_singly(2)

    assert acks.plan([1, 3]) == [(3, True)]


def test_nothing_acked_is_no_frame() -> None:
    acks = Acks()
    acks.settled_singly(1)

    assert acks.plan([]) == []


@given(
    st.lists(st.sampled_from(["ack", "nack", "keep"]), min_size=1, max_size=30).flatmap(
        lambda fates: st.tuples(
            st.just(fates), st.permutations(range(1, len(fates) + 1)), st.lists(st.integers(1, 5), max_size=30)
        )
    )
)
def test_the_broker_ends_with_exactly_what_was_settled(case: tuple[list[str], list[int], list[int]]) -> None:
    fates, order, batches = case
    acks = Acks()
    held = set(range(1, len(fates) + 1))
    acked: set[int] = set()
    while order:
        size = batches.pop() if batches else len(order)
        batch, order = order[:size], order[size:]
        for tag in batch:
            if fates[tag - 1] == "nack":
                acks.settled_singly(tag)
                held.discard(tag)
        for tag, multiple in acks.plan([tag for tag in batch if fates[tag - 1] == "ack"]):
            # The broker closes the channel over a tag it does not hold.
            assert tag in held
            settled = {each for each in held if each <= tag} if multiple else {tag}
            held -= settled
            acked |= settled

    assert acked == {tag for tag, fate in enumerate(fates, 1) if fate == "ack"}
    assert held == {tag for tag, fate in enumerate(fates, 1) if fate == "keep"}
