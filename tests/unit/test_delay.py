"""The arithmetic of the delay ladder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.delay import LEVELS, MAX_SECONDS, entry_level, quantise, read_routing_key, routing_key

seconds = st.integers(0, MAX_SECONDS)
queues = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,189}", fullmatch=True)


@given(seconds, queues)
def test_a_routing_key_reads_back_and_fits_the_brokers_limit(delay: int, queue: str) -> None:
    key = routing_key(delay, queue)

    assert read_routing_key(key) == (delay, queue)
    assert len(key.encode()) <= 255


@given(seconds.filter(bool))
def test_the_levels_whose_bit_is_set_add_up_to_the_delay(delay: int) -> None:
    bits = routing_key(delay, "q").split(".")[:LEVELS]

    levels = [LEVELS - 1 - place for place, bit in enumerate(bits) if bit == "1"]

    assert sum(2**level for level in levels) == delay
    assert levels[0] == entry_level(delay)


@pytest.mark.parametrize("delay", [-1, MAX_SECONDS + 1])
def test_a_delay_outside_the_ladder_is_refused_with_value_and_rule(delay: int) -> None:
    with pytest.raises(ValueError, match=rf"delay of {delay} s: must be between 0 and {MAX_SECONDS}"):
        routing_key(delay, "q")
    with pytest.raises(ValueError, match=rf"delay of {delay} s"):
        entry_level(delay)


def test_no_delay_does_not_enter_the_ladder() -> None:
    with pytest.raises(ValueError, match="does not enter"):
        entry_level(0)


@pytest.mark.parametrize("key", ["", "q", "0.1.q", ".".join("0" * LEVELS), ".".join("2" * LEVELS) + ".q"])
def test_a_key_that_is_none_of_the_ladder_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is not a key of the delay ladder"):
        read_routing_key(key)


@given(st.floats(-10, 10_000_000), st.integers(1, 5))
def test_a_quantised_delay_has_few_bits_and_loses_less_than_its_share(delay: float, bits: int) -> None:
    whole = min(max(int(delay), 0), MAX_SECONDS)

    result = quantise(delay, bits)

    assert result.bit_count() <= bits
    assert result <= whole
    assert result >= whole * (1 - 2.0**-bits)


@pytest.mark.parametrize(("delay", "expected"), [(0, 0), (0.9, 0), (1, 1), (7, 6), (600, 576), (1e9, 3 << 20)])
def test_known_delays_quantise_as_expected(delay: float, expected: int) -> None:
    assert quantise(delay) == expected
