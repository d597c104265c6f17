"""Job events: batches, and the order that makes any sequence of them converge."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.envelope import Message
from warren.errors import EnvelopeError
from warren.events import FINAL, ErrorInfo, Event, State, decode_batch, encode_batch, position

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
milliseconds = st.integers(0, 2**53 - 1)
maybe = st.none()
events = st.builds(
    Event,
    job=texts,
    state=st.sampled_from(State),
    attempt=st.integers(0, 1_000_000),
    at_ms=milliseconds,
    task=texts,
    queue=texts,
    enqueued_ms=milliseconds,
    worker=texts,
    started_ms=maybe | milliseconds,
    max_attempts=maybe | st.integers(1, 1_000_000),
    retry_at_ms=maybe | milliseconds,
    progress=maybe | st.floats(0, 1),
    progress_message=maybe | texts.filter(bool),
    result=maybe | texts.filter(bool),
    outcome=maybe | st.sampled_from(["succeeded", "failed"]),
    error=maybe | st.builds(ErrorInfo, type=texts, message=texts, traceback=texts),
    tenant=maybe | texts.filter(bool),
    redelivered=st.booleans(),
)
steps = st.tuples(st.sampled_from(State), st.integers(0, 50))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
VALID = {"job": "j", "state": "running", "attempt": 1, "at_ms": 1, "task": "t", "queue": "q", "enqueued_ms": 1}


@given(st.lists(events, max_size=4))
def test_a_batch_reads_back(batch: list[Event]) -> None:
    assert decode_batch(encode_batch(batch)) == batch


def refused_or_events(body: bytes) -> None:
    """Decode; anything raised but an EnvelopeError fails the test, and so does a value of a wrong type let in."""
    message = Message(body=body)
    try:
        found = decode_batch(message)
    except EnvelopeError as error:
        raw = error.raw
    else:
        assert all(type(event) is Event and type(event.state) is State for event in found)
        again = decode_batch(encode_batch(found))
        assert encode_batch(again).body == encode_batch(found).body
        return
    assert raw is message


@given(st.binary(max_size=100))
def test_decoding_any_bytes_raises_nothing_but_an_envelope_error(body: bytes) -> None:
    refused_or_events(body)


@given(json_values)
def test_decoding_any_json_raises_nothing_but_an_envelope_error(value: object) -> None:
    refused_or_events(json.dumps(value).encode())
    refused_or_events(json.dumps({"v": value, "events": []}).encode())
    refused_or_events(json.dumps({"v": 1, "events": value}).encode())
    refused_or_events(json.dumps({"v": 1, "events": [value]}).encode())


@given(st.dictionaries(st.sampled_from(list(Event.__dataclass_fields__)), json_values, max_size=3))
def test_decoding_any_field_raises_nothing_but_an_envelope_error(changes: dict[str, object]) -> None:
    refused_or_events(json.dumps({"v": 1, "events": [{**VALID, **changes}]}).encode())


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"v":1,"events":' + b"[" * 100_000])
def test_deep_nesting_is_refused(body: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode_batch(Message(body=body))


def test_an_error_that_quotes_bytes_which_are_no_text_still_makes_an_event() -> None:
    error = ErrorInfo(type="OSError", message="no file \udcff.txt")
    event = Event(job="j", state=State.DEAD, attempt=1, at_ms=1, task="t", queue="q", enqueued_ms=1, error=error)

    (decoded,) = decode_batch(encode_batch([event]))

    assert decoded.error == ErrorInfo(type="OSError", message="no file ?.txt")


def test_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(EnvelopeError, match="version 2 is newer than 1"):
        decode_batch(Message(body=b'{"v":2,"events":[]}'))


@given(st.lists(steps, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_end_in_the_same_state(
    happened: list[tuple[State, int]], random: Callable[..., object]
) -> None:
    repeated = [*happened, *happened[: len(happened) // 2]]
    random.shuffle(repeated)  # type: ignore[attr-defined]

    def winner(sequence: list[tuple[State, int]]) -> tuple[int, State]:
        best = max(sequence, key=lambda step: position(*step))
        return position(*best), best[0]

    assert winner(happened) == winner(repeated)


def test_positions_are_one_total_order_where_only_repetitions_of_a_final_state_tie() -> None:
    places: dict[int, set[tuple[State, int | None]]] = {}
    for state, attempt in product(State, range(20)):
        places.setdefault(position(state, attempt), set()).add((state, None if state in FINAL else attempt))

    assert all(len(same) == 1 for same in places.values())


def test_a_final_state_beats_every_other_and_success_beats_all() -> None:
    changing = [position(state, attempt) for state in State if not state.final for attempt in (0, 1, 10**9, 2**60)]
    final = {state: position(state, 1) for state in FINAL}

    assert max(changing) < min(final.values())
    assert max(final, key=lambda state: final[state]) is State.SUCCEEDED


def test_a_later_attempt_beats_an_earlier_one_whatever_its_state() -> None:
    assert position(State.RUNNING, 2) > position(State.RETRYING, 1) > position(State.RUNNING, 1)
    assert position(State.QUEUED, 0) < position(State.RUNNING, 1)
