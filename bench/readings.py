"""What was measured: quantities, readings of them, and what the rounds come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from bench.figures import Spread, spread

Better: TypeAlias = Literal["higher", "lower", "neither"]
Key: TypeAlias = tuple[str, str]
"""A quantity and a contender."""

PAYLOADS: Final = {64: "64 B", 1024: "1 KiB", 65536: "64 KiB"}
"""Sizes of the payload argument, and how they are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something that is measured.

    Attributes:
        id: Its name in `results.json`, dotted, the measure first.
        title: Its name for people.
        unit: What its values count.
        better: Which values are better.
    """

    id: str
    title: str
    unit: str
    better: Better

    @property
    def measure(self) -> str:
        """The measure it belongs to."""
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value, of one contender in one round.

    Attributes:
        quantity: Id of what was measured.
        contender: Name of who was.
        value: How much.
        round: In which round, from 1.
    """

    quantity: str
    contender: str
    value: float
    round: int = 1


def summarize(readings: Iterable[Reading]) -> dict[Key, Spread]:
    """Return median and extremes of each quantity and contender, in the order they came in."""
    values: dict[Key, list[float]] = {}
    for reading in readings:
        values.setdefault((reading.quantity, reading.contender), []).append(reading.value)
    return {key: spread(found) for key, found in values.items()}


def rate(id_: str, title: str) -> Quantity:
    """Return a quantity that counts jobs a second."""
    return Quantity(id=id_, title=title, unit="jobs/s", better="higher")


def milliseconds(id_: str, title: str) -> Quantity:
    """Return a quantity that counts milliseconds."""
    return Quantity(id=id_, title=title, unit="ms", better="lower")


def mebibytes(id_: str, title: str) -> Quantity:
    """Return a quantity that counts MiB of memory."""
    return Quantity(id=id_, title=title, unit="MiB", better="lower")
