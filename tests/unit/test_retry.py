"""When a failed job runs again, and when it has failed for good."""

from __future__ import annotations

import pickle
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.delay import MAX_SECONDS
from warren.envelope import Envelope
from warren.errors import Discard, InvalidArguments, Problem, RetryAfter, TimeLimitExceeded
from warren.retry import Again, Dead, Failure, Retry, next_step

JOB = Envelope(id="0190c8a4-5b1e-7c3a-9f00-0123456789ab", task="greet", queue="default")
POLICY = Retry(max_attempts=3, min_delay=1, max_delay=60)


def after(error: BaseException, *, attempt: int = 1, job: Envelope = JOB, policy: Retry = POLICY) -> Again | Dead:
    return next_step(Failure(error=error), job, attempt, policy, Random(1))


@given(
    attempt=st.integers(1, 1_000_000),
    low=st.floats(0, 10_000),
    span=st.floats(0, 100_000),
    seed=st.integers(),
)
def test_a_delay_stays_within_its_bound_and_two_bits(attempt: int, low: float, span: float, seed: int) -> None:
    policy = Retry(min_delay=low, max_delay=low + span)

    delay = policy.delay(attempt, Random(seed))

    bound = min(low + span, low * 2.0 ** min(attempt - 1, 64))
    assert 0 <= delay <= bound + 0.5
    assert delay.bit_count() <= 2


def test_delays_spread_over_the_whole_range_so_that_jobs_do_not_return_together() -> None:
    rng = Random(7)
    policy = Retry(min_delay=100, max_delay=1000)

    delays = [policy.delay(1, rng) for _ in range(2000)]

    assert min(delays) < 5
    assert max(delays) >= 96
    assert 40 < sum(delays) / len(delays) < 55


def test_delays_grow_with_the_attempts_up_to_the_maximum() -> None:
    policy = Retry(min_delay=1, max_delay=64)

    largest = [max(policy.delay(attempt, Random(seed)) for seed in range(300)) for attempt in (1, 3, 5, 9)]

    assert largest == sorted(largest)
    assert largest[0] <= 1
    assert 48 <= largest[-1] <= 64


@given(st.integers(1, 30), st.none() | st.integers(1, 30), st.integers())
def test_a_job_that_always_fails_gets_exactly_its_attempts(policys: int, own: int | None, seed: int) -> None:
    policy = Retry(max_attempts=policys, min_delay=1, max_delay=60)
    job, rng = JOB.evolve(max_attempts=own), Random(seed)

    failed = 1
    while isinstance(next_step(Failure(error=ValueError()), job, failed, policy, rng), Again):
        failed += 1

    assert failed == (own or policys)


@given(st.integers(4, 20_000), st.integers(1, 5))
def test_full_jitter_reaches_both_ends_of_any_range(longest: int, attempt: int) -> None:
    policy = Retry(min_delay=longest, max_delay=longest)

    delays = [policy.delay(attempt, Random(seed)) for seed in range(200)]

    assert min(delays) <= longest * 0.1
    assert max(delays) >= longest * 0.7


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_attempts": 0}, r"max_attempts=0\): must be 1 or more"),
        ({"min_delay": -1}, "0 <= min_delay"),
        ({"min_delay": 10, "max_delay": 5}, "min_delay <= max_delay"),
        ({"max_delay": MAX_SECONDS + 1}, str(MAX_SECONDS)),
        ({"min_delay": float("nan")}, "min_delay"),
    ],
)
def test_a_policy_that_breaks_its_rule_says_so(options: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Retry(**options)  # type: ignore[arg-type]


def test_a_failure_with_attempts_left_runs_again() -> None:
    step = after(ValueError("bad"), attempt=2)

    assert isinstance(step, Again)
    assert 0 <= step.delay_seconds <= 2


@pytest.mark.parametrize("error", [ValueError("bad"), RetryAfter(5), TimeLimitExceeded()])
def test_the_last_attempt_that_fails_makes_a_dead_letter(error: Exception) -> None:
    assert after(error, attempt=3) == Dead(reason="failed 3 of 3 attempts")


def test_a_jobs_own_limit_of_attempts_beats_the_policys() -> None:
    assert after(ValueError(), attempt=1, job=JOB.evolve(max_attempts=1)) == Dead(reason="failed 1 of 1 attempts")
    assert isinstance(after(ValueError(), attempt=3, job=JOB.evolve(max_attempts=9)), Again)


def test_a_discard_dies_at_once_with_its_reason() -> None:
    assert after(Discard("no such customer")) == Dead(reason="no such customer")


def test_invalid_arguments_die_at_once_because_they_will_not_get_better() -> None:
    error = InvalidArguments("greet", [Problem(field="arguments.name", rule="missing", message="Field required")])

    assert after(error) == Dead(reason="arguments of task 'greet' are invalid: arguments.name: Field required")


@pytest.mark.parametrize(("wish", "delay"), [(0, 0), (30, 30), (2.6, 3), (1e12, MAX_SECONDS)])
def test_a_task_chooses_its_own_delay(wish: float, delay: int) -> None:
    assert after(Retry.after(wish)) == Again(delay_seconds=delay)


@pytest.mark.parametrize("wish", [-1, float("nan")])
def test_a_delay_that_is_none_is_refused_where_it_is_asked_for(wish: float) -> None:
    with pytest.raises(ValueError, match="must be 0 or more seconds"):
        Retry.after(wish)


def test_an_endless_delay_is_cut_to_the_ladders_length() -> None:
    assert after(Retry.after(float("inf"))) == Again(delay_seconds=MAX_SECONDS)


@pytest.mark.parametrize("error", [RetryAfter(5, "later"), Discard("no"), TimeLimitExceeded("slow")])
def test_what_steers_a_job_survives_the_way_from_a_child_process(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
