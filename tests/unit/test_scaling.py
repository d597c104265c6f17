"""The scaling policy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warren.scaling import Bounds, Decision, Observation, Policy, Wish, decide, find_target, remember

POLICY = Policy(bounds=Bounds(minimum=0, maximum=100), concurrency=1, slo_seconds=30)

counts = st.integers(0, 10**5)
seconds = st.none() | st.floats(0, 10**5)
bounds = st.tuples(st.integers(0, 50), st.integers(0, 200)).map(lambda two: Bounds(minimum=two[0], maximum=sum(two)))
policies = st.builds(
    Policy,
    bounds=bounds,
    concurrency=st.integers(1, 50),
    slo_seconds=st.floats(0.01, 10**4),
    jobs_per_worker=st.none() | st.integers(1, 100),
    stable_seconds=st.floats(0, 600),
)
observations = st.builds(
    Observation,
    current=st.integers(0, 300),
    ready=counts,
    unacked=counts,
    leaving_jobs=counts,
    running=st.none() | counts,
    busy_workers=st.none() | st.integers(0, 300),
    expected_seconds=seconds,
)


def seen(ready: int | None = 0, unacked: int | None = 0, current: int = 0, **more: Any) -> Observation:
    return Observation(current=current, ready=ready, unacked=unacked, **more)


def held(current: int, policy: Policy, *looks: tuple[float, Observation]) -> Decision:
    """Decide several times, and let the fleet be as large as was decided."""
    decision = None
    for at, look in looks:
        decision = decide(replace(look, current=current), policy, at, () if decision is None else decision.memory)
        current = decision.workers
    assert decision is not None
    return decision


@pytest.mark.parametrize(
    ("ready", "unacked", "expected_seconds", "concurrency", "workers"),
    [
        (400, 0, 2.0, 1, 27),  # 800 s of work, 30 s each
        (400, 0, 2.0, 4, 7),
        (40, 0, 60.0, 1, 40),  # a job never needs more than one slot
        (40, 0, 15.0, 1, 20),
        (1, 0, 0.001, 1, 1),
        (1, 0, 0.0, 1, 1),
        (0, 0, 2.0, 1, 0),
    ],
)
def test_the_expected_work_is_spread_over_the_latency_goal(
    ready: int, unacked: int, expected_seconds: float, concurrency: int, workers: int
) -> None:
    policy = replace(POLICY, concurrency=concurrency)

    target = find_target(seen(ready, unacked, expected_seconds=expected_seconds), policy)

    assert target.workers == workers


def test_a_cold_start_goes_by_the_depth() -> None:
    target = find_target(seen(ready=41), replace(POLICY, concurrency=10))
    coarse = find_target(seen(ready=41), replace(POLICY, concurrency=10, jobs_per_worker=40))

    assert (target.workers, target.cause) == (5, "depth")
    assert coarse.workers == 2


def test_jobs_longer_than_the_goal_come_on_top_of_the_busy_workers() -> None:
    target = find_target(seen(ready=5, unacked=20, current=20, expected_seconds=60.0), POLICY)

    assert target.workers == 25


def test_waiting_jobs_are_spread_over_the_goal_besides_the_busy_workers() -> None:
    """Whether the ten workers are busy for a second or an hour: who waits does not wait for them."""
    look = seen(ready=60, unacked=10, current=10, running=10, busy_workers=10, expected_seconds=2.0)

    assert find_target(look, POLICY).workers == 14
    assert find_target(replace(look, ready=1), POLICY).workers == 11


def test_busy_workers_are_kept_when_little_is_left_to_do() -> None:
    target = find_target(seen(ready=0, unacked=20, current=20, expected_seconds=1.0), POLICY)

    assert (target.workers, target.cause) == (20, "busy")


def test_prefetched_jobs_do_not_count_as_busy_workers() -> None:
    """Two workers of concurrency 10 hold 40 jobs: 20 of them only wait, and no third worker is busy."""
    target = find_target(seen(ready=0, unacked=40, current=2, expected_seconds=0.1), replace(POLICY, concurrency=10))

    assert target.workers == 2


def test_workers_that_tell_are_believed_over_the_unsettled_jobs() -> None:
    policy = replace(POLICY, concurrency=10)
    look = seen(unacked=30, current=8, running=3, busy_workers=3, expected_seconds=1.0)

    assert find_target(look, policy).workers == 3
    assert find_target(replace(look, running=3, busy_workers=None), policy).workers == 1


@pytest.mark.parametrize(
    ("ready", "unacked", "running", "workers"),
    [
        (1, 0, 1, 1),  # counted as waiting, and begun since
        (10, 0, 10, 10),
        (12, 0, 5, 12),
        (7, 5, 5, 12),  # counted anew
        (0, 0, 3, 3),  # not even counted as waiting yet
    ],
)
def test_jobs_that_began_since_the_broker_counted_do_not_count_twice(
    ready: int, unacked: int, running: int, workers: int
) -> None:
    look = seen(ready, unacked, current=running, running=running, busy_workers=running, expected_seconds=60.0)

    assert find_target(look, POLICY).workers == workers


def test_jobs_that_leaving_workers_hold_ask_for_no_worker() -> None:
    look = seen(unacked=10, leaving_jobs=10, current=2, expected_seconds=60.0)

    assert find_target(look, POLICY).workers == 0


@pytest.mark.parametrize(
    ("look", "cause", "words"),
    [
        (seen(), "idle", "nothing waits and nothing runs"),
        (seen(ready=4, expected_seconds=60.0), "backlog", "4 jobs waiting or running (60 s each, to start within 30 s"),
        (seen(ready=4), "depth", "1 to a worker, as nothing is known"),
        (seen(ready=400, expected_seconds=60.0), "maximum", "ask for 400; the most is 100"),
        (seen(ready=None), "no_data", "depths are unknown"),
    ],
)
def test_a_target_says_what_it_comes_from(look: Observation, cause: str, words: str) -> None:
    target = find_target(look, POLICY)

    assert target.cause == cause
    assert words in target.explanation


def test_a_target_at_the_minimum_says_so() -> None:
    target = find_target(seen(ready=1, expected_seconds=1.0), replace(POLICY, bounds=Bounds(minimum=3, maximum=8)))

    assert (target.workers, target.unbounded, target.cause) == (3, 1, "minimum")
    assert "the least is 3" in target.explanation


@pytest.mark.parametrize(("ready", "unacked"), [(None, 3), (3, None), (None, None)])
def test_missing_data_holds_the_fleet_for_ever(ready: int | None, unacked: int | None) -> None:
    policy = replace(POLICY, stable_seconds=10)
    blind = seen(ready, unacked)

    decision = held(5, policy, *((float(at), blind) for at in range(100)))

    assert (decision.workers, decision.reason) == (5, "no_data")


def test_missing_data_still_gives_the_minimum() -> None:
    blind = decide(seen(ready=None), replace(POLICY, bounds=Bounds(minimum=2, maximum=8)), 0.0)

    assert (blind.workers, blind.reason) == (2, "no_data")


def test_workers_are_given_all_together() -> None:
    decision = decide(seen(ready=1000, expected_seconds=60.0), POLICY, 0.0)

    assert (decision.workers, decision.reason) == (100, "up")


def test_workers_go_only_after_the_whole_stable_time() -> None:
    policy, idle = replace(POLICY, stable_seconds=10), seen()

    before = held(5, policy, *((float(at), idle) for at in range(10)))
    after = held(5, policy, *((float(at), idle) for at in range(11)))

    assert (before.workers, before.reason) == (5, "settling")
    assert (after.workers, after.reason) == (0, "down")


def test_a_late_wish_for_more_keeps_the_fleet() -> None:
    policy, idle = replace(POLICY, stable_seconds=10), seen()
    looks = [(float(at), idle) for at in range(20)]
    looks[14] = (14.0, seen(ready=3, expected_seconds=60.0))

    assert held(5, policy, *looks[:14]).workers == 0
    assert held(2, policy, *looks[:20]).workers == 3


def test_looks_far_apart_still_cover_the_stable_time() -> None:
    """What was wanted 15 s ago was in force until now, so it counts for a stable time of 10 s."""
    policy = replace(POLICY, stable_seconds=10)
    busy = seen(ready=5, expected_seconds=60.0)

    decision = held(5, policy, (0.0, busy), (15.0, seen()))

    assert (decision.workers, decision.reason) == (5, "settling")


def test_an_outage_begins_the_stable_time_anew() -> None:
    policy, idle, blind = replace(POLICY, stable_seconds=10), seen(), seen(ready=None)

    decision = held(5, policy, (0.0, idle), (6.0, blind), (11.0, idle))

    assert (decision.workers, decision.reason) == (5, "settling")


def test_a_lowered_maximum_holds_against_older_wishes() -> None:
    lower = replace(POLICY, bounds=Bounds(minimum=0, maximum=2), stable_seconds=10)
    memory = (Wish(at_seconds=0.0, workers=8),)

    decision = decide(seen(ready=50, current=8, expected_seconds=60.0), lower, 10.0, memory)

    assert (decision.workers, decision.reason) == (2, "down")


@settings(deadline=None)
@given(observations, policies)
def test_the_bounds_always_hold(look: Observation, policy: Policy) -> None:
    assert policy.bounds.minimum <= find_target(look, policy).workers <= policy.bounds.maximum


@settings(deadline=None)
@given(observations, policies, counts)
def test_more_waiting_jobs_never_ask_for_fewer_workers(look: Observation, policy: Policy, more: int) -> None:
    assert look.ready is not None
    deeper = replace(look, ready=look.ready + more)

    assert find_target(deeper, policy).workers >= find_target(look, policy).workers


@settings(deadline=None)
@given(observations, policies, counts)
def test_more_unsettled_jobs_never_ask_for_fewer_workers(look: Observation, policy: Policy, more: int) -> None:
    assert look.unacked is not None
    deeper = replace(look, unacked=look.unacked + more)

    assert find_target(deeper, policy).workers >= find_target(look, policy).workers


@settings(deadline=None)
@given(observations, policies, st.floats(0, 1000))
def test_longer_jobs_never_ask_for_fewer_workers(look: Observation, policy: Policy, more: float) -> None:
    short = replace(look, expected_seconds=look.expected_seconds or 0.0)
    longer = replace(short, expected_seconds=(short.expected_seconds or 0.0) + more)

    assert find_target(longer, policy).workers >= find_target(short, policy).workers


@settings(deadline=None)
@given(observations, policies)
def test_never_fewer_than_are_busy(look: Observation, policy: Policy) -> None:
    workers = find_target(look, policy).workers

    assert workers >= min(look.busy_workers or 0, policy.bounds.maximum)
    if look.ready or (look.unacked or 0) > look.leaving_jobs:
        assert workers >= min(1, policy.bounds.maximum)


@settings(deadline=None)
@given(observations, policies)
def test_no_job_asks_for_more_than_one_slot(look: Observation, policy: Policy) -> None:
    assert look.ready is not None
    assert look.unacked is not None
    warm = replace(look, expected_seconds=look.expected_seconds or 1.0, busy_workers=0)
    jobs = look.ready + max(look.unacked - look.leaving_jobs, look.running or 0)

    assert find_target(warm, policy).unbounded <= math.ceil(jobs / policy.concurrency)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 60), observations, st.booleans()), min_size=1, max_size=30), policies)
def test_a_fleet_is_never_let_go_below_the_highest_wish_of_the_stable_time(
    looks: list[tuple[float, Observation, bool]], policy: Policy
) -> None:
    now, current, memory = 0.0, 0, ()
    history: list[tuple[float, int]] = []
    for pause, look, known in looks:
        now += pause
        met = replace(look, current=current, ready=look.ready if known else None)
        decision = decide(met, policy, now, memory)
        history.append((now, decision.target.workers))
        wanted = [workers for at, workers in history if at > now - policy.stable_seconds]

        if not known:
            assert decision.workers >= current
        elif decision.workers < current:
            assert decision.workers == min(max(wanted, default=decision.target.workers), policy.bounds.maximum)
            assert history[0][0] <= now - policy.stable_seconds
        else:
            assert decision.workers == max(decision.target.workers, current)
        current, memory = decision.workers, decision.memory


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 50)), max_size=60), st.floats(0, 300))
def test_the_memory_is_no_longer_than_the_stable_time_needs(
    steps: list[tuple[float, int]], stable_seconds: float
) -> None:
    now, memory = 0.0, ()
    for pause, workers in steps:
        now += pause
        memory = remember(memory, Wish(at_seconds=now, workers=workers), stable_seconds)

        assert memory[-1] == Wish(at_seconds=now, workers=workers)
        assert all(wish.at_seconds > now - stable_seconds for wish in memory[1:])


@pytest.mark.parametrize("wrong", [{"minimum": -1}, {"minimum": 3, "maximum": 2}])
def test_bounds_out_of_order_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="0 <= min <= max"):
        Bounds(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"jobs_per_worker": 0}, "jobs per worker is 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"slo_seconds": 0.0}, "latency goal is 0"),
        ({"slo_seconds": math.inf}, "latency goal is inf"),
        ({"stable_seconds": -1.0}, "stable time is -1"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Policy(**wrong)
