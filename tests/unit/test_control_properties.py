"""Orders: the same state comes of a stream read again, from the middle, or mixed with orders on other things."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from warren.control import CancelJobs, CancelMatching, Limits, Order, Pause, Resume, Started, decode_order, encode_order
from warren_worker.control import Orders

JOBS = [f"0190c8a4-5b1e-7c3a-9f00-{number:012d}" for number in range(4)]
jobs = st.sampled_from(JOBS)
queues = st.sampled_from(["a", "b"])
cancels = st.one_of(
    st.builds(CancelJobs, jobs=st.lists(jobs, min_size=1, max_size=3).map(tuple)),
    st.builds(
        CancelMatching,
        before_ms=st.integers(0, 50),
        queue=st.none() | queues,
        task=st.sampled_from([None, "t", "u"]),
        waiting_only=st.booleans(),
    ),
)
starts = st.builds(Started, job=jobs, attempt=st.integers(1, 3), run=st.integers(1, 4))
pauses = st.builds(Pause, queue=queues) | st.builds(Resume, queue=queues)
limits = st.builds(Limits, queue=queues, concurrency=st.none() | st.integers(1, 3), generation=st.integers(0, 3))
streams: st.SearchStrategy[list[Order]] = st.lists(cancels | starts | pauses | limits, max_size=20)


def state(*streams: list[Order]) -> dict[str, Any]:
    orders = Orders()
    for stream in streams:
        for order in stream:
            orders.take(order)
    return vars(orders)


def subject(order: Order) -> str:
    """Return what an order is about: of those about the same, the latest counts."""
    match order:
        case Pause() | Resume():
            return f"pause {order.queue}"
        case Limits():
            return f"limits {order.queue}"
        case _:
            return ""


@given(streams, st.data())
def test_only_orders_about_the_same_thing_must_keep_their_order(stream: list[Order], data: st.DataObject) -> None:
    places = data.draw(st.permutations(range(len(stream))))
    mixed: list[Order | None] = [None] * len(stream)
    for name in {subject(order) for order in stream}:
        about = [order for order in stream if subject(order) == name]
        free = [places[index] for index, order in enumerate(stream) if subject(order) == name]
        # Cancels and starts may come in any order, the others in their own.
        for place, order in zip(sorted(free) if name else free, about, strict=True):
            mixed[place] = order

    assert state([order for order in mixed if order is not None]) == state(stream)


@given(streams, st.data())
def test_a_stream_may_be_read_again_from_anywhere(stream: list[Order], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(stream)))

    assert state(stream, stream[begin:]) == state(stream)
    assert state(stream, stream, stream) == state(stream)


@given(streams)
def test_the_wire_changes_no_order(stream: list[Order]) -> None:
    read = [decode_order(encode_order(order)) for order in stream]

    assert read == stream
