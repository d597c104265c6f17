"""The goals of the benchmarks, and how results are held against them."""

from __future__ import annotations

import pytest

from bench.__main__ import MEASURES
from bench.contender import discover
from bench.figures import Spread, spread
from bench.goals import GOALS, Goal, judge
from bench.readings import Key
from bench.sizes import FULL

BETTER = {"rate": "higher", "wait": "lower"}
TWICE = Goal(what="rate", ours=("rate", "we"), bound=2, theirs=(("rate", "a"), ("rate", "b")))


def measured(**values: float) -> dict[Key, Spread]:
    """Return summaries, `quantity__contender=value`."""
    return {(name.split("__")[0], name.split("__")[1]): spread([value]) for name, value in values.items()}


def test_a_ratio_is_taken_to_the_best_of_several() -> None:
    (score,) = judge([TWICE], measured(rate__we=30, rate__a=10, rate__b=20), BETTER)

    assert (score.reached, score.ratio, score.met) == (1.5, 0.75, False)


def test_of_waiting_times_the_shortest_is_the_best() -> None:
    goal = Goal(what="wait", ours=("wait", "we"), bound=1, direction="at most", theirs=(("wait", "a"), ("wait", "b")))

    (score,) = judge([goal], measured(wait__we=4, wait__a=10, wait__b=8), BETTER)

    assert (score.reached, score.ratio, score.met) == (0.5, 2.0, True)


def test_a_bound_on_the_value_itself_needs_nobody_else() -> None:
    at_most = Goal(what="wait", ours=("wait", "we"), bound=5, direction="at most", unit="ms")
    at_least = Goal(what="rate", ours=("rate", "we"), bound=95, unit="%")

    one, other = judge([at_most, at_least], measured(wait__we=10, rate__we=95), BETTER)

    assert (one.reached, one.ratio, one.met) == (10, 0.5, False)
    assert (other.ratio, other.met) == (1.0, True)


def test_a_peer_that_is_not_there_is_told() -> None:
    (score,) = judge([TWICE], measured(rate__we=30, rate__b=10), BETTER)

    assert score.met is True
    assert score.lacking == (("rate", "a"),)


@pytest.mark.parametrize("there", [{"rate__we": 3.0}, {"rate__a": 3.0}, {}])
def test_a_goal_without_its_values_is_not_judged(there: dict[str, float]) -> None:
    (score,) = judge([TWICE], measured(**there), BETTER)

    assert (score.reached, score.ratio, score.met) == (None, None, None)
    assert score.lacking


def test_a_peer_at_zero_gives_no_ratio() -> None:
    (score,) = judge([TWICE], measured(rate__we=3, rate__a=0, rate__b=0), BETTER)

    assert score.reached is None


def test_nothing_at_all_is_within_any_bound() -> None:
    goal = Goal(what="wait", ours=("wait", "we"), bound=5, direction="at most")

    (score,) = judge([goal], measured(wait__we=0), BETTER)

    assert score.met is True


def test_goals_are_told_in_words() -> None:
    assert TWICE.text == "≥ 2 × the best of a, b"
    assert Goal(what="", ours=("wait", "we"), bound=5, direction="at most", unit="ms").text == "≤ 5 ms"
    assert Goal(what="", ours=("rate", "we"), bound=0.7, theirs=(("rate", "a"),)).text == "≥ 0.7 × a"


def test_every_goal_is_about_something_that_is_measured_of_somebody_who_takes_part() -> None:
    quantities = {one.id: one for measure in MEASURES.values() for one in measure.quantities(FULL)}
    contenders = {each.name: each for each in discover()}

    for goal in GOALS:
        for quantity, name in (goal.ours, *goal.theirs):
            assert quantity in quantities, goal.what
            taken = contenders[name].measures | {"cpu"}
            assert quantities[quantity].measure in taken, f"{name} in {goal.what}"
        better = {"at least": "higher", "at most": "lower"}[goal.direction]
        assert quantities[goal.ours[0]].better == better, goal.what
