"""Events and orders on the wire: golden vectors, both ways (those of the envelope are in test_envelope)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from warren.control import decode_order, encode_order
from warren.envelope import Message
from warren.errors import EnvelopeError
from warren.events import ErrorInfo, Event, State, decode_batch, encode_batch

GOLDEN = Path(__file__).parents[1] / "golden"


def vectors(folder: str, kind: str) -> list[Any]:
    found = sorted((GOLDEN / folder).glob(f"{kind}-*.json"))
    assert len(found) >= 8
    return [pytest.param(json.loads(path.read_text(encoding="utf-8")), id=path.stem) for path in found]


def message(vector: dict[str, Any]) -> Message:
    return Message(body=vector["body"].encode(), headers=vector.get("headers", {}), **vector.get("properties", {}))


def check_properties(encoded: Message, vector: dict[str, Any]) -> None:
    assert {name: getattr(encoded, name) for name in vector["properties"]} == vector["properties"]
    assert encoded.headers == vector["headers"]
    assert encoded.message_id


def event_of(fields: dict[str, Any]) -> Event:
    error = fields.get("error")
    return Event(**{**fields, "state": State(fields["state"]), "error": error and ErrorInfo(**error)})


@pytest.mark.parametrize("vector", vectors("events-v1", "valid"))
def test_a_valid_batch_decodes_to_its_events(vector: dict[str, Any]) -> None:
    assert decode_batch(message(vector)) == [event_of(fields) for fields in vector["events"]]


@pytest.mark.parametrize("vector", vectors("events-v1", "valid"))
def test_the_events_of_a_valid_batch_encode_to_it(vector: dict[str, Any]) -> None:
    encoded = encode_batch([event_of(fields) for fields in vector["events"]])

    check_properties(encoded, vector)
    assert (json.loads(encoded.body) == json.loads(vector["body"])) is vector["encodes_to_itself"]
    assert decode_batch(encoded) == decode_batch(message(vector))


@pytest.mark.parametrize("vector", vectors("events-v1", "invalid"))
def test_an_invalid_batch_is_refused_with_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError) as caught:
        decode_batch(message(vector))

    assert vector["reason"] in str(caught.value)


@pytest.mark.parametrize("vector", vectors("control-v1", "valid"))
def test_a_valid_order_decodes_to_its_fields_and_encodes_to_them(vector: dict[str, Any]) -> None:
    order = decode_order(message(vector))

    if vector["order"] is None:
        assert order is None
        return
    assert order is not None
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(order).items()}
    encoded = encode_order(order)
    check_properties(encoded, vector)
    assert {name: value for name, value in told.items() if value is not None} == {
        name: value for name, value in vector["order"].items() if name != "kind"
    }
    assert json.loads(encoded.body)["kind"] == vector["order"]["kind"]
    assert (json.loads(encoded.body) == json.loads(vector["body"])) is vector["encodes_to_itself"]


@pytest.mark.parametrize("vector", vectors("control-v1", "invalid"))
def test_an_invalid_order_is_refused_with_its_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError) as caught:
        decode_order(message(vector))

    assert vector["reason"] in str(caught.value)
