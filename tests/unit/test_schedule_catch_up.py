"""Which ticks fire: the pure decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.envelope import JOB_ID
from warren_server.schedules.catch_up import MAX_AT_ONCE, MAX_MISSED, CatchUp, Plan, jitter_seconds, job_id, plan
from warren_server.schedules.timing import Timing

MINUTE = 60_000
MINUTELY = Timing(interval_seconds=60)
SECONDLY = Timing(interval_seconds=1)

policies: st.SearchStrategy[CatchUp] = st.sampled_from(["skip", "one", "all"])


@pytest.mark.parametrize("policy", ["skip", "one", "all"])
def test_a_tick_on_time_fires_whatever_the_policy(policy: CatchUp) -> None:
    planned = plan(MINUTELY, policy, 5 * MINUTE, 5 * MINUTE + 3)

    assert planned == Plan(fire=(5 * MINUTE,), skipped=0, dropped=False, next_ms=6 * MINUTE)


@pytest.mark.parametrize("policy", ["skip", "one", "all"])
def test_ticks_late_by_less_than_the_grace_all_fire(policy: CatchUp) -> None:
    assert plan(SECONDLY, policy, 5000, 9500).fire == (5000, 6000, 7000, 8000, 9000)


@pytest.mark.parametrize(
    ("policy", "fired", "skipped"), [("skip", (), 5), ("one", (9 * MINUTE,), 4), ("all", (5, 6, 7, 8, 9), 0)]
)
def test_the_policy_decides_about_missed_ticks(policy: CatchUp, fired: tuple[int, ...], skipped: int) -> None:
    planned = plan(MINUTELY, policy, 5 * MINUTE, 9 * MINUTE + 30_000)

    assert planned.fire == tuple(tick * MINUTE if tick < MINUTE else tick for tick in fired)
    assert (planned.skipped, planned.dropped, planned.next_ms) == (skipped, False, 10 * MINUTE)


def test_a_tick_within_the_grace_stands_for_the_one_that_was_missed() -> None:
    assert plan(MINUTELY, "one", 5 * MINUTE, 9 * MINUTE + 1000).fire == (9 * MINUTE,)


def test_nothing_is_due_before_its_time() -> None:
    assert plan(MINUTELY, "all", 5 * MINUTE, 5 * MINUTE - 1) == Plan(
        fire=(), skipped=0, dropped=False, next_ms=5 * MINUTE
    )


def test_of_very_many_missed_ticks_the_latest_thousand_fire_in_turns() -> None:
    now_ms = 10_000_000
    planned = plan(SECONDLY, "all", 1000, now_ms)
    fired = list(planned.fire)
    dropped = planned.dropped
    while planned.next_ms is not None and planned.next_ms <= now_ms:
        planned = plan(SECONDLY, "all", planned.next_ms, now_ms)
        assert len(planned.fire) <= MAX_AT_ONCE
        fired += planned.fire

    assert dropped
    assert fired == list(range(now_ms - (MAX_MISSED - 1) * 1000, now_ms + 1, 1000))


@given(policies, st.integers(1, 900), st.lists(st.integers(0, 5_000_000), min_size=1, max_size=20))
def test_however_often_one_looks_no_tick_fires_twice_and_none_is_forgotten(
    policy: CatchUp, seconds: int, steps: list[int]
) -> None:
    timing = Timing(interval_seconds=seconds)
    next_ms: int | None = seconds * 1000
    now_ms, fired, skipped, dropped = 0, [], 0, False
    for step in steps:
        now_ms += step
        assert next_ms is not None
        planned = plan(timing, policy, next_ms, now_ms)
        fired += planned.fire
        skipped += planned.skipped
        dropped = dropped or planned.dropped
        assert planned.next_ms is not None
        assert planned.next_ms >= next_ms
        assert all(next_ms <= tick <= now_ms for tick in planned.fire)
        next_ms = planned.next_ms

    assert fired == sorted(set(fired))
    dealt_with = next_ms // (seconds * 1000) - 1
    assert dropped or len(fired) + skipped == dealt_with
    if policy == "all":
        assert skipped == 0


@given(st.text(max_size=20), st.integers(0, 2**45), st.integers(0, 86400))
def test_jitter_is_within_its_bound_and_always_the_same(name: str, tick_ms: int, most: int) -> None:
    found = jitter_seconds(name, tick_ms, most)

    assert 0 <= found <= most
    assert found == jitter_seconds(name, tick_ms, most)


def test_jitter_spreads_over_its_whole_range() -> None:
    assert {jitter_seconds("a", tick * 1000, 9) for tick in range(200)} == set(range(10))


def test_each_tick_has_a_job_id_of_its_own() -> None:
    ids = {job_id(name, made, tick) for name in ("a", "b", "a 1") for made in (1, 11) for tick in (1, 11)}

    assert len(ids) == 12
    assert all(JOB_ID.fullmatch(found) for found in ids)
    assert job_id("a", 1, 2) == job_id("a", 1, 2)
