from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren_server.api.problems import Refusal
from warren_server.api.strict_json import MAX_DEPTH, MAX_ITEMS, load_object

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON))
def test_what_python_writes_is_read_back_the_same(value: dict[str, object]) -> None:
    assert load_object(json.dumps(value).encode()) == value
    assert load_object(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    try:
        found: object = load_object(raw)
    except Refusal as refusal:
        found = refusal.kind

    assert found == "bad-json" or isinstance(found, dict)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"null", "must be an object, is null"),
        (b"[]", "is an array"),
        (b'"x"', "is a string"),
        (b"1", "is a number"),
        (b"true", "is a boolean"),
        (b'{"a":1} x', "Extra data"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":Infinity}', "Infinity is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":-1e999}', "too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "64 bits"),
        (b'{"a":9223372036854775808}', "64 bits"),
        (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "not JSON"),
        ('{"a":1}'.encode("utf-32-be"), "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\uDFFF":1}', "surrogate"),
        (b'{"a":1,"a":2}', "'a' appears twice"),
        (b'{"task":"x","task":"y"}', "'task' appears twice"),
        (b'{"x":{"b":1,"a":1,"b":2}}', "'b' appears twice"),
        (nested(33), "deeper than 32"),
        (nested(1000), "deeper than 32"),
        (b"[" * 100_000, "deeper than 32"),
        (b"[" * 100_000 + b"]" * 100_000, "deeper than 32"),
        (b'{"a":[}]', "brackets"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_bad_body_is_refused_with_the_rule_it_breaks(raw: bytes, why: str) -> None:
    with pytest.raises(Refusal, match="the body is refused") as caught:
        load_object(raw)

    assert caught.value.kind == "bad-json"
    assert why in caught.value.detail


def test_the_deepest_nesting_allowed_is_read() -> None:
    assert load_object(nested(MAX_DEPTH))


def test_brackets_and_escaped_quotes_in_strings_do_not_count_as_nesting() -> None:
    text = '[[[["\\' * 50

    assert load_object(json.dumps({"a": text}).encode()) == {"a": text}


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert load_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":[' + b"0," * 500_000 + b"0]}",
        b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}",
        b'{"a":[' + b"{}," * 300_000 + b"0]}",
    ],
    ids=["elements", "keys", "objects"],
)
def test_too_many_items_are_refused_before_they_are_built(raw: bytes) -> None:
    began = time.process_time()

    with pytest.raises(Refusal, match=f"more than {MAX_ITEMS}"):
        load_object(raw)

    assert time.process_time() - began < 0.1
