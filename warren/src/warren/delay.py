"""Arithmetic of the binary delay ladder.

A delay of whole seconds is written as 22 bits. Level n of the ladder is a queue whose messages expire after 2ⁿ seconds
into level n−1, so a job passes exactly the levels whose bit is set, highest first, and leaves at the bottom. All
messages of one queue share one time to live, so none waits behind a longer one. The idea is NServiceBus's
(docs.particular.net, RabbitMQ transport, delayed delivery).
"""

from __future__ import annotations

from typing import Final

LEVELS: Final = 22
MAX_SECONDS: Final = 2**LEVELS - 1
"""4,194,303 s: 48 days and a half."""


def routing_key(seconds: int, queue: str) -> str:
    """Write the key that steers a job through the ladder: 22 bits, highest first, then the queue.

    Raises:
        ValueError: The delay is not between 0 and `MAX_SECONDS`.
    """
    _check(seconds)
    return ".".join(f"{seconds:0{LEVELS}b}") + f".{queue}"


def read_routing_key(key: str) -> tuple[int, str]:
    """Read a ladder key back into its delay in seconds and its queue.

    Raises:
        ValueError: The key has no 22 bits in front.
    """
    words = key.split(".", LEVELS)
    if len(words) != LEVELS + 1 or any(word not in ("0", "1") for word in words[:LEVELS]):
        raise ValueError(f"{key!r} is not a key of the delay ladder: it must begin with {LEVELS} bits")
    return int("".join(words[:LEVELS]), 2), words[LEVELS]


def entry_level(seconds: int) -> int:
    """Return the level a delay enters at: that of its highest set bit.

    Raises:
        ValueError: The delay is not between 1 and `MAX_SECONDS`.
    """
    _check(seconds)
    if seconds == 0:
        raise ValueError("a delay of 0 s does not enter the ladder")
    return seconds.bit_length() - 1


def quantise(seconds: float, bits: int = 2) -> int:
    """Round a delay down to whole seconds with at most `bits` set bits.

    Every set bit costs one write and one transfer between queues, so back-off, whose exact length does not matter,
    takes at most two. The result is at least three quarters of the input, once that is 1 s or more (two bits).
    """
    whole = min(max(int(seconds), 0), MAX_SECONDS)
    kept = 0
    for _ in range(bits):
        if whole == kept:
            break
        kept |= 1 << ((whole ^ kept).bit_length() - 1)
    return kept


def _check(seconds: int) -> None:
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"delay of {seconds} s: must be between 0 and {MAX_SECONDS} s (48 days)")
