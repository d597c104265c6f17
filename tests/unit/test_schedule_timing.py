"""When schedules tick: arithmetic, without a clock."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warren_server.schedules.timing import Timing, check_cron, check_timezone, latest_ticks, next_tick, ticks, upcoming

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata")
CRONS = (
    "* * * * *", "*/7 * * * *", "30 2 * * *", "0 2,3 * * *", "15,45 1-3 * * *", "0 0 * * *", "*/20 2 * * *",
    "0 0 1 * *", "0 12 * * MON-FRI", "59 23 L * *", "0 3 * * SUN#1", "*/10 * * * * *", "30 30 2 * * *", "0 */2 * * *",
)  # fmt: skip
FROM = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)
UNTIL = int(datetime(2028, 1, 1, tzinfo=UTC).timestamp() * 1000)

BRIEF = settings(max_examples=60, deadline=None)

moments = st.integers(FROM, UNTIL)
# Most mistakes live near the changes of the clock.
changes = st.sampled_from(
    [
        int(datetime(2026, *day, 1, tzinfo=UTC).timestamp() * 1000)
        for day in ((3, 29), (10, 25), (4, 4), (3, 8), (11, 1))
    ]
)
near_changes = st.builds(lambda change, off: change + off, changes, st.integers(-8 * 3_600_000, 20 * 3_600_000))
crons = st.builds(lambda cron, zone: Timing(cron=cron, timezone=zone), st.sampled_from(CRONS), st.sampled_from(ZONES))
intervals = st.builds(
    lambda seconds, anchor: Timing(interval_seconds=seconds, anchor_ms=anchor), st.integers(1, 100_000), moments
)


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0, fold: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, fold=fold, tzinfo=BERLIN).timestamp() * 1000)


def shown(timing: Timing, after_ms: int, most: int) -> list[str]:
    return [f"{datetime.fromtimestamp(tick / 1000, BERLIN):%d. %H:%M %z}" for tick in upcoming(timing, after_ms, most)]


@given(crons | intervals, moments | near_changes)
@BRIEF
def test_ticks_are_ever_later_and_each_follows_from_the_one_before(timing: Timing, after_ms: int) -> None:
    found = list(islice(ticks(timing, after_ms), 12))

    assert found[0] > after_ms
    assert found == sorted(set(found))
    chained, last = [], after_ms
    for _ in found:
        following = next_tick(timing, last)
        assert following is not None
        last = following
        chained.append(last)
    assert chained == found


@given(crons | intervals, moments | near_changes, st.integers(0, 5400))
@BRIEF
def test_a_later_look_misses_no_tick_and_finds_none_twice(timing: Timing, after_ms: int, later_seconds: int) -> None:
    later_ms = after_ms + later_seconds * 1000 + 137

    expected = list(islice((tick for tick in ticks(timing, after_ms) if tick > later_ms), 5))

    assert upcoming(timing, later_ms, 5) == expected


@given(crons | intervals, moments | near_changes, st.integers(0, 86400), st.integers(1, 50))
@BRIEF
def test_the_latest_ticks_of_a_span_are_the_end_of_all(timing: Timing, first_ms: int, seconds: int, most: int) -> None:
    last_ms = first_ms + seconds * 1000
    every = []
    for tick in ticks(timing, first_ms - 1):
        if tick > last_ms:
            break
        every.append(tick)

    assert latest_ticks(timing, first_ms, last_ms, most) == (every[-most:], len(every) > most)


def test_a_year_of_seconds_is_searched_from_its_end() -> None:
    timing = Timing(cron="* * * * * *", timezone="Europe/Berlin")
    last_ms = local(2026, 6, 1)

    found, more = latest_ticks(timing, last_ms - 366 * 86_400_000, last_ms, 1000)

    assert (found[0], found[-1], more) == (last_ms - 999_000, last_ms, True)


def test_a_time_of_day_that_the_spring_change_skips_fires_when_the_hour_ends() -> None:
    timing = Timing(cron="30 2 * * *", timezone="Europe/Berlin")

    assert shown(timing, local(2026, 3, 28), 3) == ["28. 02:30 +0100", "29. 03:00 +0200", "30. 02:30 +0200"]


def test_a_time_of_day_that_comes_twice_in_autumn_fires_the_first_time() -> None:
    timing = Timing(cron="30 2 * * *", timezone="Europe/Berlin")

    assert shown(timing, local(2026, 10, 24), 3) == ["24. 02:30 +0200", "25. 02:30 +0200", "26. 02:30 +0100"]
    # Also when a server looks for the first time in the second of the two hours.
    assert shown(timing, local(2026, 10, 25, 2, 10, fold=1), 1) == ["26. 02:30 +0100"]


def test_every_half_hour_follows_the_wall_clock_through_both_changes() -> None:
    timing = Timing(cron="*/30 * * * *", timezone="Europe/Berlin")

    spring = shown(timing, local(2026, 3, 29, 1, 15), 3)
    autumn = shown(timing, local(2026, 10, 25, 1, 45), 5)

    assert spring == ["29. 01:30 +0100", "29. 03:00 +0200", "29. 03:30 +0200"]
    assert autumn == [
        "25. 02:00 +0200", "25. 02:30 +0200", "25. 02:00 +0100", "25. 02:30 +0100", "25. 03:00 +0100",
    ]  # fmt: skip


def test_an_interval_counts_from_its_anchor_and_not_before_it() -> None:
    timing = Timing(interval_seconds=90, anchor_ms=1_000_000)

    assert upcoming(timing, 0, 3) == [1_000_000, 1_090_000, 1_180_000]
    assert upcoming(timing, 1_000_000, 2) == [1_090_000, 1_180_000]
    assert upcoming(timing, 1_089_999, 1) == [1_090_000]


def test_a_cron_expression_does_not_fire_before_its_anchor() -> None:
    anchor_ms = local(2026, 5, 1, 12)
    timing = Timing(cron="0 * * * *", anchor_ms=anchor_ms)

    assert upcoming(timing, 0, 2) == [anchor_ms, anchor_ms + int(timedelta(hours=1).total_seconds() * 1000)]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "is no cron expression"), ("* * * *", "is no cron expression"), ("* * * * * * *", "is no cron expression"),
        ("61 * * * *", "bad minute"), ("* 24 * * *", "bad hour"), ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"), ("* * * * 8", "bad day-of-week"), ("@daily", "is no cron expression"),
        ("0 0 30 2 *", "bad day-of-month"), ("0 0 31 2,4 *", "bad day-of-month"), ("1,2-1 * * * *", "bad minute"),
        ("*/0 * * * *", "bad minute"), ("* * * * *" + " " * 200, "at most 200"), ("٣ * * * *", "ASCII"),
    ],
)  # fmt: skip
def test_an_expression_that_is_none_or_never_fires_is_refused(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_cron(expression)


@pytest.mark.parametrize("expression", CRONS)
def test_expressions_are_taken(expression: str) -> None:
    check_cron(expression)


@given(st.text(alphabet="0123456789*/,-L#W SUNMOJAN", max_size=30))
def test_whatever_an_expression_is_the_only_complaint_is_a_value_error(expression: str) -> None:
    with suppress(ValueError):
        check_cron(expression)


@given(st.lists(st.sampled_from(["*", "*/2", "1", "L", "LW", "5L", "2#1", "1-3", "1,2/2", "L/2", "29", "MON#5"]),
                min_size=5, max_size=6))  # fmt: skip
def test_odd_fields_are_taken_or_refused_but_never_break(fields: list[str]) -> None:
    try:
        check_cron(" ".join(fields))
    except ValueError:
        return

    assert len(upcoming(Timing(cron=" ".join(fields), timezone="Europe/Berlin"), FROM, 2)) > 0


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "../../etc/passwd", "Europe", "localtime", "/etc/localtime", "CESTX"]
)
def test_a_time_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no IANA time zone"):
        check_timezone(name)
