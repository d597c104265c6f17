"""Replays of arrivals against scaling rules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from warren.cli import main
from warren.cli.bench import _TRACES
from warren.simulation import report
from warren.simulation.report import Score
from warren.simulation.rules import RULES, Keda, Rule, Warren
from warren.simulation.traces import TRACES, Arrival, Trace
from warren.simulation.world import Record, Setup, World

DEFAULT, TUNED, CELERY = (make() for make in RULES[1:])


def scored(trace: str, rule: Rule, runs: int = 3, **setup: float) -> Score:
    made = Setup(**setup)  # type: ignore[arg-type]
    records = [report.replay(trace, rule, made, seed)[1] for seed in range(runs)]
    return report.score(rule.name, records, made.maximum)


def world(*jobs: Arrival, held: int = 1, clings: bool = False, horizon: float = 1000, **setup: float) -> World:
    trace = Trace(name="test", says="", arrivals=jobs, horizon_seconds=horizon)
    return World(trace, Setup(**setup), Random(1), held=held, clings=clings)  # type: ignore[arg-type]


def jobs(count: int, seconds: float, failures: int = 0) -> list[Arrival]:
    return [Arrival(at_seconds=0.0, run_seconds=seconds, failures=failures) for _ in range(count)]


@pytest.mark.parametrize("rule", [make() for make in RULES], ids=lambda rule: rule.name)
@pytest.mark.parametrize("trace", ["burst", "poison"])
def test_a_replay_does_all_jobs_and_the_same_seed_gives_the_same(trace: str, rule: Rule) -> None:
    drawn, first = report.replay(trace, rule, Setup(), 7)
    _, again = report.replay(trace, rule, Setup(), 7)
    _, other = report.replay(trace, rule, Setup(), 8)

    assert first == again
    assert first.samples != other.samples
    assert first.finished == len(drawn.arrivals) == len(first.waits)


def test_a_burst_is_met_at_once_by_warren_and_step_by_step_by_the_hpa() -> None:
    warren, default, tuned = (scored("burst", rule, runs=5) for rule in (Warren(), DEFAULT, TUNED))

    assert warren.reach_seconds is not None
    assert default.reach_seconds is not None
    assert tuned.reach_seconds is not None
    # At most a count of the broker's, a look of the scaler and a start.
    assert warren.reach_seconds <= 5 + 2 + 4 + 1
    assert warren.reach_seconds < tuned.reach_seconds < default.reach_seconds
    assert warren.reach_seconds <= default.reach_seconds / 2
    assert warren.wait_p95_seconds <= default.wait_p95_seconds * 0.6


def test_only_warren_interrupts_no_long_job() -> None:
    warren, default, celery = (scored("long", rule) for rule in (Warren(), DEFAULT, CELERY))

    assert (warren.interrupted, warren.finished) == (0, 210)
    assert default.interrupted >= 1
    assert celery.interrupted > default.interrupted
    assert warren.worker_seconds < default.worker_seconds


def test_a_wave_is_met_within_the_goal_by_half_the_workers() -> None:
    warren, default = (scored("wave", rule, runs=1) for rule in (Warren(), DEFAULT))

    assert warren.wait_p95_seconds < 30
    assert warren.interrupted == 0
    assert warren.worker_seconds < 0.7 * default.worker_seconds


def test_a_storm_of_failing_jobs_ends_and_the_fleet_goes() -> None:
    warren = scored("poison", Warren(), runs=1)

    assert (warren.finished, warren.peak) == (1500, 20)
    _, record = report.replay("poison", Warren(), Setup(), 1)
    assert [sample[4] for sample in record.samples if 900 < sample[0] < 1100].count(20) == 0


def test_the_trace_of_a_wave_has_the_rate_it_says() -> None:
    trace = TRACES["wave"](Random(3))

    assert 20_000 < len(trace.arrivals) < 23_200
    assert 1.8 < sum(job.run_seconds for job in trace.arrivals) / len(trace.arrivals) < 2.3


@pytest.mark.parametrize("name", TRACES)
def test_traces_are_in_order_and_end_before_their_horizon(name: str) -> None:
    trace = TRACES[name](Random(3))

    times = [job.at_seconds for job in trace.arrivals]
    assert times == sorted(times)
    assert times[-1] < trace.horizon_seconds


def test_workers_run_as_many_as_they_may_and_hold_a_few_more() -> None:
    made = world(*jobs(10, 10.0), held=3, concurrency=2)
    made.start(2)
    made.every(1000, lambda: None)
    made._horizon = 5

    made.run()

    assert [(len(worker.running), len(worker.waiting)) for worker in made.workers] == [(2, 1), (2, 1)]
    assert made.ready == 4


def test_a_terminated_worker_may_finish_within_its_grace() -> None:
    made = world(*jobs(1, 20.0), grace_seconds=30)
    made.start(1)
    made._at(10.0, lambda: made.terminate(made.workers[0]))

    record = made.run()

    assert (record.interrupted, record.finished, record.finished_at) == (0, 1, 24.0)
    assert made.workers == []
    assert record.worker_seconds == pytest.approx(24)


def test_a_job_that_outlasts_the_grace_is_interrupted_and_runs_again() -> None:
    made = world(*jobs(1, 100.0), grace_seconds=30)
    made.start(2)
    made._at(10.0, lambda: made.terminate(next(worker for worker in made.workers if worker.running)))

    record = made.run()

    assert (record.interrupted, record.finished, record.finished_at) == (1, 1, 140.0)
    assert len(record.waits) == 1


@pytest.mark.parametrize(("clings", "second_began"), [(False, 10.0), (True, 24.0)])
def test_a_worker_that_ends_gives_back_what_it_holds_now_or_at_its_end(clings: bool, second_began: float) -> None:
    made = world(*jobs(2, 20.0), held=2, clings=clings)
    made.start(1)
    made._at(5.0, lambda: made.start(1))
    made._at(10.0, lambda: made.terminate(made.workers[0]))

    record = made.run()

    assert record.returned == 1
    assert record.waits == [(4.0, 4.0), (second_began, second_began)]


def test_a_drained_worker_takes_jobs_again_when_it_is_told_to() -> None:
    made = world(*jobs(3, 10.0))
    made.start(1)
    made._at(5.0, lambda: made.drain(made.workers[0]))
    made._at(50.0, lambda: made.undrain(made.workers[0]))

    record = made.run()

    assert [at for at, _ in record.waits] == [4.0, 50.0, 60.0]


def test_a_worker_that_is_terminated_before_it_is_up_never_takes_a_job() -> None:
    made = world(*jobs(1, 1.0), start_seconds=10)
    made.start(1)
    made._at(5.0, lambda: made.terminate(made.workers[0]))

    assert made.run().waits == []


def test_a_failing_job_comes_again_with_delays_that_double() -> None:
    made = world(*jobs(1, 1.0, failures=3), start_seconds=0)
    made.start(1)

    record = made.run()

    assert (record.finished, record.finished_at, len(record.waits)) == (1, 4 + 1 + 2 + 4, 1)


def test_keda_sleeps_after_its_cooldown_and_celerys_trigger_is_blind_to_what_runs() -> None:
    """A job of 20 minutes alone: the amqp trigger sees an empty queue, and its worker is killed under it."""
    blind = Keda(sees_unacked=False, poll_seconds=10, cooldown_seconds=60)
    seeing = Keda(poll_seconds=10, cooldown_seconds=60)
    found = []
    for rule in (blind, seeing):
        made = world(*jobs(1, 300.0), horizon=900)
        rule.join(made)
        record = made.run()
        found.append((record.interrupted > 0, record.finished))

    assert found == [(True, 0), (False, 1)]


def test_the_hpa_passes_over_a_tenth() -> None:
    made = world(*jobs(21, 1000.0), stats_seconds=1, maximum=30, horizon=300)
    made.start(20)
    Keda().join(made)

    made.run()

    assert len(made.workers) == 20


def test_a_tuned_scale_down_takes_a_tenth_a_minute() -> None:
    made = world(*jobs(1, 900.0), stats_seconds=1, horizon=880)
    made.start(20)
    TUNED.join(made)

    record = made.run()

    counts = [sample[4] for sample in record.samples]
    assert min(counts[:290]) == 20
    # Two a minute; one that is busy leaves up to 30 s later.
    assert all(earlier - later <= 3 for earlier, later in zip(counts, counts[50:], strict=False))
    assert counts[-1] < 5


def test_quantiles_and_times() -> None:
    record = Record(samples=[(0.0, 0, 0, 0, 1), (1.0, 0, 0, 2, 2)])

    assert report.quantile([], 0.95) == 0
    assert report.quantile(list(range(100)), 0.95) == 95
    assert report.quantile([7.0], 0.95) == 7
    assert (report.reach_seconds(record, 2), report.reach_seconds(record, 3)) == (1.0, None)


def warren(*words: str) -> Result:
    return CliRunner().invoke(main, ["bench", "scaling", *words])


def test_the_command_compares_all_rules() -> None:
    result = warren("--trace", "burst", "--runs", "1", "--max", "5")

    assert result.exit_code == 0, result.output
    assert "400 jobs of 2 s at once" in result.stdout
    assert "to 5 workers" in result.stdout
    for make in RULES:
        assert make().name in result.stdout


def test_the_command_answers_in_json_too() -> None:
    found = json.loads(warren("--runs", "1", "--json").stdout)

    assert [score["rule"] for score in found] == [make().name for make in RULES]
    assert all(score["finished"] == 400 for score in found)


def test_the_command_offers_all_traces() -> None:
    assert set(_TRACES) == set(TRACES)


def test_the_first_replay_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    pictures = [tmp_path / "one.png", tmp_path / "two.png"]

    for picture in pictures:
        assert warren("--runs", "1", "--plot", str(picture)).exit_code == 0

    first, second = (picture.read_bytes() for picture in pictures)
    assert first.startswith(b"\x89PNG")
    assert len(first) > 20_000
    assert first == second


def test_without_matplotlib_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    result = warren("--runs", "1", "--plot", str(tmp_path / "no.png"))

    assert result.exit_code == 2
    assert "pip install 'warren[plot]'" in result.stderr


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    result = warren("--runs", "1", "--plot", str(tmp_path / "nowhere" / "no.png"))

    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
