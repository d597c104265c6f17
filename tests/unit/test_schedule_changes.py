"""What users do to schedules: pure changes of a value."""

from __future__ import annotations

from dataclasses import replace

from warren_server.schedules.schedule import Definition, Schedule, change, put, set_paused

MINUTELY = Definition(interval_seconds=60, task="greet", arguments={"cmd": "hey"})


def made(definition: Definition = MINUTELY, now_ms: int = 7_500) -> Schedule:
    return put(None, "a", definition, None, now_ms)


def test_a_new_schedule_ticks_first_when_its_interval_is_over_on_a_whole_second() -> None:
    schedule = made()

    assert (schedule.next_ms, schedule.paused, schedule.source) == (67_000, False, "api")
    assert change(None, schedule) == "created"


def test_a_start_to_come_is_the_first_tick() -> None:
    assert made(replace(MINUTELY, start_ms=90_000)).next_ms == 90_000
    assert made(replace(MINUTELY, start_ms=1_000)).next_ms == 61_000


def test_saying_the_same_again_changes_nothing() -> None:
    schedule = made()
    again = put(schedule, "a", MINUTELY, None, 40_000)

    assert again == schedule
    assert change(schedule, again) == "unchanged"


def test_other_arguments_keep_the_place_in_the_ticks() -> None:
    schedule = made()
    changed = put(schedule, "a", replace(MINUTELY, arguments={}), None, 40_000)

    assert (changed.next_ms, changed.created_ms, changed.updated_ms) == (67_000, 7_500, 40_000)
    assert change(schedule, changed) == "changed"


def test_other_times_begin_after_now_so_that_no_tick_comes_again() -> None:
    changed = put(made(), "a", replace(MINUTELY, interval_seconds=10), None, 39_000)

    assert changed.next_ms == 47_000


def test_two_changes_in_one_millisecond_can_be_told_apart() -> None:
    schedule = made()

    assert put(schedule, "a", replace(MINUTELY, arguments={}), None, 7_500).updated_ms == 7_501


def test_a_put_that_says_nothing_of_paused_leaves_it_as_it_was() -> None:
    paused = set_paused(made(), paused=True, now_ms=8_000)

    assert put(paused, "a", MINUTELY, None, 9_000) == paused
    assert put(paused, "a", replace(MINUTELY, jitter_seconds=5), None, 9_000).paused
    assert not put(paused, "a", replace(MINUTELY, paused=False), None, 9_000).paused


def test_a_schedule_can_be_made_paused() -> None:
    assert made(replace(MINUTELY, paused=True)).paused


def test_pausing_twice_is_pausing_once() -> None:
    paused = set_paused(made(), paused=True, now_ms=8_000)

    assert set_paused(paused, paused=True, now_ms=9_000) is paused


def test_a_resumed_schedule_that_skips_goes_on_with_the_next_tick() -> None:
    paused = set_paused(made(replace(MINUTELY, catch_up="skip")), paused=True, now_ms=8_000)

    assert set_paused(paused, paused=False, now_ms=187_500).next_ms == 247_000
    assert set_paused(paused, paused=False, now_ms=20_000).next_ms == 67_000


def test_a_resumed_schedule_that_catches_up_still_has_its_missed_ticks() -> None:
    paused = set_paused(made(), paused=True, now_ms=8_000)

    assert set_paused(paused, paused=False, now_ms=187_500).next_ms == 67_000


def test_other_times_while_paused_leave_no_missed_ticks() -> None:
    paused = set_paused(made(), paused=True, now_ms=8_000)

    changed = put(paused, "a", replace(MINUTELY, interval_seconds=10, paused=False), None, 187_500)

    assert (changed.paused, changed.next_ms) == (False, 197_000)
