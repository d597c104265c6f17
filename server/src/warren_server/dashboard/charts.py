"""Sparklines: values over time as the points of a line in a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 160
HEIGHT: Final = 36
_MARGIN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a chart.

    Attributes:
        name: What it shows.
        points: Its points, as SVG's `polyline` takes them; a line for each stretch without a gap.
        latest: Its last value, if it is known.
    """

    name: str
    points: Sequence[str]
    latest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A small picture of values over time.

    Attributes:
        lines: What it shows, all to one scale.
        highest: The largest value; the lowest shown is 0.
        span: Over which time, in words.
    """

    lines: Sequence[Line]
    highest: float
    span: str

    @property
    def label(self) -> str:
        """The picture in words."""
        told = ", ".join(
            f"{line.name} {'unknown' if line.latest is None else f'{line.latest:g}'}" for line in self.lines
        )
        return f"{told} now; at most {self.highest:g} in {self.span}"


def chart(series: Sequence[tuple[str, Sequence[float | None]]], span: str) -> Chart | None:
    """Draw values that are equally far apart in time; None when there are not two to draw a line between.

    Args:
        series: Names with values, oldest first; None for what is not known.
        span: Over which time, in words.
    """
    values = [value for _, line in series for value in line if value is not None]
    if max((len(line) for _, line in series), default=0) < 2 or not values:
        return None
    highest = max(values)
    lines = [
        Line(name=name, points=_stretches(line, highest or 1), latest=line[-1] if line else None)
        for name, line in series
    ]
    return Chart(lines=lines, highest=highest, span=span)


def _stretches(values: Sequence[float | None], highest: float) -> list[str]:
    step = (WIDTH - 2 * _MARGIN) / max(len(values) - 1, 1)
    stretches: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            stretches.append([])
            continue
        x = _MARGIN + place * step
        y = HEIGHT - _MARGIN - value / highest * (HEIGHT - 2 * _MARGIN)
        stretches[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(points) for points in stretches if points]
