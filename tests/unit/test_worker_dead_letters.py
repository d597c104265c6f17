"""What fits into the headers of a dead letter."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from warren.envelope import Envelope, Message, encode, new_job_id
from warren.events import ErrorInfo, State
from warren.retry import Retry
from warren.task import Registry, task
from warren_worker.dead import MAX_HEADER_BYTES, Death, dead_letter, size
from worker_harness import running

ERROR = ErrorInfo(type="ValueError", message="no", traceback="line\n" * 1000)


class Long(int):
    """An integer of an AMQP client's own kind, which `in range(...)` would look for one by one."""


def _death(**fields: Any) -> Death:
    return Death(
        **{
            "reason": "failed",
            "outcome": "failed",
            "error": ERROR,
            "worker": "w",
            "dead_ms": 2,
            "attempt": 1,
            "started_ms": 1,
            **fields,
        }
    )


def test_the_jobs_own_headers_stay_and_the_brokers_go() -> None:
    message = Message(body=b"{}", headers={"warren-v": Long(1), "x-death": [1], "traceparent": "00-1", "other": 1.5})

    headers = dict(dead_letter(message, _death()).message.headers)

    assert (headers["warren-v"], headers["traceparent"], headers["other"]) == (1, "00-1", "1.5")
    assert type(headers["warren-v"]) is int
    assert "x-death" not in headers
    assert headers["warren-started-ms"] == 1


def test_the_login_of_another_is_not_claimed() -> None:
    assert dead_letter(Message(body=b"", user_id="alice"), _death()).message.user_id is None


def test_the_traceback_is_cut_to_its_end_when_the_frame_is_full() -> None:
    envelope = Envelope(id=new_job_id(), task="t", queue="q", state="x" * 100_000)
    error = ErrorInfo(type="E", message="€" * 5000, traceback="€" * 16_000 + "the end")

    headers = dict(dead_letter(encode(envelope), _death(error=error)).message.headers)

    assert size(headers) <= MAX_HEADER_BYTES
    assert str(headers["warren-error-traceback"]).endswith("the end")
    assert headers["warren-state"] == envelope.state


def test_strange_headers_give_way_to_the_cause_of_death() -> None:
    strange = {f"strange-{number}": "x" * 10_000 for number in range(12)}

    headers = dict(dead_letter(Message(body=b"", headers=strange), _death()).message.headers)

    assert size(headers) <= MAX_HEADER_BYTES
    assert headers["warren-error-traceback"] == ERROR.traceback


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=300), VALUES, max_size=8))
def test_whatever_headers_came_what_goes_out_can_be_sent(headers: dict[str, Any]) -> None:
    sent = dict(dead_letter(Message(body=b"", headers=headers), _death()).message.headers)

    assert size(sent) <= MAX_HEADER_BYTES
    for name, value in sent.items():
        assert len(name.encode()) <= 255
        assert isinstance(value, str | bytes | int)
        if isinstance(value, str):
            value.encode()
        if isinstance(value, int):
            assert -(2**63) <= value < 2**63


def test_the_image_is_told_when_it_is_known() -> None:
    message = Message(body=b"{}")

    assert "warren-image" not in dead_letter(message, _death()).message.headers
    assert dead_letter(message, _death(image="shop:1.2")).message.headers["warren-image"] == "shop:1.2"


def test_a_worker_tells_its_image_and_the_round_of_the_job() -> None:
    registry = Registry()

    @task(registry=registry, retry=Retry(max_attempts=1))
    def fail() -> None:
        raise ValueError("no")

    with running(registry, image="shop:1.2") as bench:
        job = bench.submit("fail", round=3)
        letter = bench.dead()
        started = bench.event(job, State.RUNNING)

    assert letter.headers["warren-image"] == "shop:1.2"
    assert letter.headers["warren-round"] == 3
    assert started.round == 3
