"""The wire format: golden vectors, both ways, and whatever else may come over the wire."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.envelope import (
    MAX_BODY_BYTES,
    Envelope,
    Message,
    NewerEnvelope,
    decode,
    encode,
    job_id_for_key,
    new_job_id,
)
from warren.errors import EnvelopeError

VECTORS = sorted((Path(__file__).parents[1] / "golden" / "envelope-v1").glob("*.json"))
VALID = [path for path in VECTORS if path.name.startswith("valid-")]
INVALID = [path for path in VECTORS if path.name.startswith("invalid-")]
JOB_ID = "0190c8a4-5b1e-7c3a-9f00-0123456789ab"

header_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
own_headers = st.sampled_from(
    [
        "warren-v",
        "warren-queue",
        "warren-attempt",
        "warren-enqueued-ms",
        "warren-expires-ms",
        "warren-timeout-s",
        "warren-max-attempts",
        "warren-state",
        "warren-tenant",
        "traceparent",
        "warren-parked-ms",
        "warren-parked-count",
        "warren-forgiven",
        "warren-round",
        "warren-escalated-from",
    ]
)
texts = st.none() | st.text(max_size=300)
arbitrary_messages = st.builds(
    Message,
    body=st.binary(max_size=200),
    message_id=texts | st.just(JOB_ID),
    type=texts | st.just("greet"),
    content_type=texts | st.just("application/json"),
    timestamp=st.none() | st.integers(0, 2**63),
    app_id=texts,
    priority=st.none() | st.integers(0, 255),
    user_id=texts,
    headers=st.dictionaries(own_headers | st.text(max_size=20), header_values, max_size=8).map(
        lambda headers: {"warren-v": 1, "warren-queue": "default", **headers}
    ),
)
names = st.from_regex(r"[a-z0-9_][a-z0-9_.]{0,20}", fullmatch=True)
milliseconds = st.integers(0, 2**63 - 1)
safe_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
envelopes = st.builds(
    Envelope,
    id=st.uuids().map(str),
    task=names,
    queue=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
    body=st.binary(max_size=100),
    attempt=st.integers(1, 1_000_000),
    priority=st.integers(0, 9),
    enqueued_ms=milliseconds,
    expires_ms=st.none() | milliseconds,
    timeout_seconds=st.none() | st.floats(1e-3, 30 * 86400).map(lambda value: round(value, 3)).filter(bool),
    max_attempts=st.none() | st.integers(1, 1_000_000),
    state=st.none() | safe_text,
    tenant=st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True),
    traceparent=st.none() | safe_text,
    parked_ms=st.none() | milliseconds,
    parked_count=st.integers(0, 1000),
    forgiven=st.integers(0, 1000),
    round=st.integers(0, 1000),
    escalated_from=st.none() | st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True),
)


def read(path: Path) -> tuple[dict[str, Any], Message]:
    vector = json.loads(path.read_text(encoding="utf-8"))
    body = base64.b64decode(vector["body_base64"])
    return vector, Message(body=body, headers=vector["headers"], **vector["properties"])


def test_there_are_vectors_of_both_kinds() -> None:
    assert len(VALID) >= 5
    assert len(INVALID) >= 20


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_vector_decodes_to_its_fields(path: Path) -> None:
    vector, message = read(path)

    decoded = asdict(decode(message))

    assert decoded.pop("body") == message.body
    # Vectors are never rewritten: those older than a field leave it out, and mean that it is missing.
    assert decoded == {"escalated_from": None, **vector["envelope"]}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_the_fields_of_a_valid_vector_encode_to_its_message(path: Path) -> None:
    vector, message = read(path)

    encoded = encode(Envelope(body=message.body, **vector["envelope"]))

    if vector["encodes_to_itself"]:
        assert encoded == message
    else:
        assert decode(encoded) == decode(message)
        assert not set(encoded.headers) & {"x-death", "my-header"}


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_vector_is_refused_with_its_reason_and_kept_whole(path: Path) -> None:
    vector, message = read(path)

    with pytest.raises(EnvelopeError) as caught:
        decode(message)

    assert vector["reason"] in str(caught.value)
    assert caught.value.raw is message


@given(arbitrary_messages)
def test_decoding_anything_raises_nothing_but_an_envelope_error(message: Message) -> None:
    decoded, error = None, None
    try:
        decoded = decode(message)
    except EnvelopeError as refused:
        error = refused

    if decoded is not None:
        assert decode(encode(decoded)) == decoded
    else:
        assert error is not None
        assert error.raw is message
        assert len(str(error)) < 1000


@given(envelopes)
def test_what_is_encoded_decodes_to_the_same(envelope: Envelope) -> None:
    assert decode(encode(envelope)) == envelope


def test_a_newer_version_is_told_apart_because_it_is_parked_not_dead() -> None:
    message = encode(Envelope(id=JOB_ID, task="greet", queue="default"))
    newer = Message(**{**message_fields(message), "headers": {**message.headers, "warren-v": 7}})

    with pytest.raises(NewerEnvelope) as caught:
        decode(newer)

    assert caught.value.version == 7


def test_a_body_may_have_1_mib_and_not_one_byte_more() -> None:
    fits = Envelope(id=JOB_ID, task="greet", queue="default", body=b"x" * MAX_BODY_BYTES)

    assert len(decode(encode(fits)).body) == MAX_BODY_BYTES
    with pytest.raises(EnvelopeError, match="1048577 bytes, the limit is 1048576"):
        decode(encode(fits.evolve(body=fits.body + b"x")))


def test_job_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    ids = [new_job_id() for _ in range(100)]

    assert {uuid.UUID(text).version for text in ids} == {7}
    assert {uuid.UUID(text).variant for text in ids} == {uuid.RFC_4122}
    assert [text[:13] for text in ids] == sorted(text[:13] for text in ids)
    assert len(set(ids)) == 100


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_an_idempotent_id_depends_on_tenant_and_key_and_nothing_else(a: str, b: str, c: str, d: str) -> None:
    same = (a, b) == (c, d)

    assert (job_id_for_key(a, b) == job_id_for_key(c, d)) is same


def message_fields(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__dataclass_fields__}
