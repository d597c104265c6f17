from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren_server.arrival import MAX_HEAD_BYTES, Arrival, Verdict

LIMIT = 1000
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("request_bytes", [GET, POST, CHUNKED], ids=["get", "length", "chunked"])
@given(cuts=st.lists(st.integers(0, 80), max_size=6))
def test_a_request_is_ready_with_its_last_byte_and_not_before(request_bytes: bytes, cuts: list[int]) -> None:
    arrival = Arrival(LIMIT)
    places = sorted({min(cut, len(request_bytes) - 1) for cut in cuts} | {len(request_bytes) - 1})

    verdicts = [arrival.feed(request_bytes[start:end]) for start, end in zip([0, *places], places, strict=False)]

    assert set(verdicts) <= {Verdict.WAIT}
    assert arrival.feed(request_bytes[-1:]) is Verdict.READY
    assert bytes(arrival.data) == request_bytes


def test_a_body_over_the_limit_is_not_waited_for() -> None:
    assert Arrival(LIMIT).feed(b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n") is Verdict.READY


def test_a_client_that_waits_to_be_asked_for_its_body_is_handed_over() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"

    assert Arrival(LIMIT).feed(head) is Verdict.READY


def test_chunks_over_the_limit_are_handed_over_to_be_refused() -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert Arrival(LIMIT).feed(head + b"x" * (LIMIT + MAX_HEAD_BYTES + 1)) is Verdict.READY


def test_a_head_without_end_is_given_up() -> None:
    assert Arrival(LIMIT).feed(b"x" * (MAX_HEAD_BYTES + 1)) is Verdict.HEAD_TOO_LARGE


def test_a_route_with_a_larger_limit_is_waited_for() -> None:
    arrival = Arrival(LIMIT, {b"post /batch ": 10 * LIMIT})
    head = b"\r\nContent-Length: 2000\r\n\r\n"

    assert arrival.feed(b"POST /batch HTTP/1.1" + head) is Verdict.WAIT
    assert Arrival(LIMIT, {b"post /batch ": 10 * LIMIT}).feed(b"POST / HTTP/1.1" + head) is Verdict.READY


def test_contradicting_lengths_are_the_parsers_business() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"

    assert Arrival(LIMIT).feed(head) is Verdict.READY
