"""When a schedule ticks: cron expressions and intervals as arithmetic on times, without a clock.

Cron expressions are read as Debian's cron reads them (`cronsim`). Where a time zone changes its clocks:

- an expression that names hours and minutes (`30 2 * * *`) fires once a day: a time that the change skips fires when
  the skipped hour ends, one that comes twice fires the first time;
- one whose minute or hour begins with a star (`*/30 * * * *`), or that has seconds, follows the clock on the wall: it
  does not fire in a skipped hour, and fires in both of two equal ones.

Intervals count seconds from their anchor and know no time zone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

MAX_CRON_LENGTH: Final = 200
_FIRST_WINDOW_SECONDS: Final = 60
_WINDOW_GROWTH: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a schedule ticks: by a cron expression or by an interval, one of the two.

    Attributes:
        cron: Five fields, or six with seconds in front.
        interval_seconds: Seconds from tick to tick, at least 1.
        timezone: IANA time zone that the expression is meant in.
        anchor_ms: There is no tick before it; intervals count from it.
    """

    cron: str | None = None
    interval_seconds: int | None = None
    timezone: str = "UTC"
    anchor_ms: int = 0


def check_cron(expression: str) -> None:
    """Make sure that an expression can be read and fires at all.

    Raises:
        ValueError: It cannot, or it never does.
    """
    if len(expression) > MAX_CRON_LENGTH or not expression.isascii():
        raise ValueError(f"must be a cron expression of at most {MAX_CRON_LENGTH} ASCII characters")
    try:
        moment = next(CronSim(expression, _moment(0, ZoneInfo("UTC"))), None)
    except CronSimError as error:
        raise ValueError(
            f"{expression!r} is no cron expression ({str(error).lower()}): must have five fields "
            "(minute hour day-of-month month day-of-week), or six with seconds in front"
        ) from error
    if moment is None:
        raise ValueError(f"{expression!r} never fires")


def check_timezone(name: str) -> None:
    """Make sure that there is such a time zone.

    Raises:
        ValueError: There is none.
    """
    if name not in _timezones():
        raise ValueError(f"{name!r:.80} is no IANA time zone, such as UTC or Europe/Berlin")


def ticks(timing: Timing, after_ms: int) -> Iterator[int]:
    """Yield the ticks after a time, ever later ones, in milliseconds since the epoch."""
    after_ms = max(after_ms, timing.anchor_ms - 1)
    if timing.interval_seconds is not None:
        yield from _interval_ticks(timing.anchor_ms, timing.interval_seconds * 1000, after_ms)
    else:
        assert timing.cron is not None  # noqa: S101 - one of the two
        yield from _cron_ticks(timing.cron, ZoneInfo(timing.timezone), after_ms)


def next_tick(timing: Timing, after_ms: int) -> int | None:
    """Return the first tick after a time, or None when there is none."""
    return next(ticks(timing, after_ms), None)


def latest_ticks(timing: Timing, first_ms: int, last_ms: int, most: int) -> tuple[list[int], bool]:
    """Return the latest ticks of a span, both ends included, and whether there are older ones in it.

    The work is bounded however long the span is: it is searched from its end, in windows that grow.

    Args:
        timing: When ticks come.
        first_ms: Begin of the span.
        last_ms: Its end.
        most: How many ticks to return at most.
    """
    window_ms = _FIRST_WINDOW_SECONDS * 1000
    while True:
        begin_ms = max(first_ms, last_ms - window_ms)
        found = deque(_until(ticks(timing, begin_ms - 1), last_ms), maxlen=most + 1)
        if len(found) > most or begin_ms == first_ms:
            return list(found)[-most:], len(found) > most
        window_ms *= _WINDOW_GROWTH


def upcoming(timing: Timing, after_ms: int, most: int) -> list[int]:
    """Return the next ticks after a time."""
    return list(islice(ticks(timing, after_ms), most))


def _until(found: Iterator[int], last_ms: int) -> Iterator[int]:
    for tick in found:
        if tick > last_ms:
            return
        yield tick


def _interval_ticks(anchor_ms: int, step_ms: int, after_ms: int) -> Iterator[int]:
    tick = anchor_ms + ((after_ms - anchor_ms) // step_ms + 1) * step_ms
    while True:
        yield tick
        tick += step_ms


def _cron_ticks(expression: str, zone: ZoneInfo, after_ms: int) -> Iterator[int]:
    last_ms = after_ms
    for moment in CronSim(expression, _moment(after_ms, zone)):
        tick = int(moment.timestamp()) * 1000
        # In the second of two equal hours cronsim begins again with the first one.
        if tick > last_ms:
            yield tick
            last_ms = tick


def _moment(at_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, zone)


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime"})
