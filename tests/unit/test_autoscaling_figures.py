"""What the autoscaling suite makes of what it sees: pods, jobs, and the table of the documentation."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from e2e.autoscaling import watching
from e2e.autoscaling.figures import FILE, NOT_ASKED, NOT_MEASURED, REPORT, Book, rendered
from e2e.autoscaling.jobs import first_starts, interrupted, redelivered, runs_at
from e2e.autoscaling.scenarios import HALF, LONG_SECONDS, second_half
from e2e.autoscaling.watching import Watch


def attempt(
    number: int = 1,
    outcome: str | None = "succeeded",
    *,
    pod: str = "pod-a",
    began: int = 0,
    ended: int | None = 10,
    again: bool = False,
) -> dict[str, Any]:
    return {
        "attempt": number,
        "outcome": outcome,
        "worker": f"{pod}-1",
        "redelivered": again,
        "duplicate": False,
        "started_at": f"2026-01-01T00:00:{began:02}Z",
        "finished_at": None if ended is None else f"2026-01-01T00:00:{ended:02}Z",
    }


def job(*attempts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "one", "attempt": attempts[-1]["attempt"], "attempts": list(attempts)}


MIDNIGHT = 1767225600.0


def test_a_job_that_ran_once_was_neither_interrupted_nor_redelivered() -> None:
    records = [job(attempt())]

    assert interrupted(records) == []
    assert redelivered(records) == []


@pytest.mark.parametrize("outcome", ["given-back", "lost", "failed"])
def test_a_run_that_was_cut_short_interrupts_and_the_next_is_a_redelivery(outcome: str) -> None:
    records = [job(attempt(outcome=outcome), attempt(2, again=True)), job(attempt())]

    assert interrupted(records) == records[:1]
    assert redelivered(records) == records[:1]


def test_a_job_handed_out_again_without_a_run_is_redelivered_and_not_interrupted() -> None:
    records = [job(attempt(again=True))]

    assert interrupted(records) == []
    assert redelivered(records) == records


@pytest.mark.parametrize(
    ("pod", "at", "busy"), [("pod-a", 5, True), ("pod-a", 0, False), ("pod-a", 10, False), ("pod-b", 5, False)]
)
def test_a_pod_is_busy_while_an_attempt_runs_on_it(pod: str, at: float, busy: bool) -> None:
    assert runs_at([job(attempt())], pod, MIDNIGHT + at) is busy
    assert runs_at([job(attempt(ended=None))], "pod-a", MIDNIGHT + 50)


def test_a_pods_first_job_is_the_earliest_of_all_that_ran_there() -> None:
    records = [job(attempt(began=9)), job(attempt(began=4)), job(attempt(pod="pod-b", began=7))]

    assert first_starts(records) == {"pod-a": MIDNIGHT + 4, "pod-b": MIDNIGHT + 7}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(watching.time, "time", lambda: now[0])
    return now


def test_the_watch_keeps_each_number_once_with_its_time(clock: list[float]) -> None:
    watch = Watch()
    for line in ("0", "0", "", "20", "20", "5"):
        watch.read_replicas(line)
        clock[0] += 1

    assert watch.replicas == [(100.0, 0), (103.0, 20), (105.0, 5)]
    assert watch.values(101.0) == [20, 5]
    assert watch.first_change(101.0) == 103.0
    assert watch.first_change(106.0) is None


def test_the_watch_follows_a_pod_from_its_creation_to_its_end(clock: list[float]) -> None:
    watch = Watch()
    ends = " deleted=1970-01-01T00:02:40Z grace=30"
    for line in (
        "pod-a",
        "pod-a running",
        "pod-a running ready",
        "pod-a running ready guarded=false",
        "pod-a running ready",
        f"pod-a running ready{ends}",
        f"pod-a exit=137{ends}",
    ):
        watch.read_pod(line)
        clock[0] += 1

    pod = watch.pods["pod-a"]
    assert (pod.seen, pod.running, pod.ready) == (100.0, 101.0, 102.0)
    assert (pod.guarded, pod.unguarded) == (103.0, 104.0)
    assert (pod.deleted, pod.exit_code) == (130.0, 137)
    assert watch.running() == 0


def test_twenty_pods_run_when_the_twentieth_does(clock: list[float]) -> None:
    watch = Watch()
    for number in range(20):
        clock[0] = 100.0 + number
        watch.read_pod(f"pod-{number} running")

    assert (watch.reached(20), watch.reached(21), watch.reached_ready(1)) == (119.0, None, None)
    assert watch.running() == 20


@pytest.mark.parametrize(("window", "cooldown"), [(300, 300), (300, 120), (60, math.inf)])
def test_ten_jobs_of_the_second_half_run_when_the_window_ends_and_the_fleet_is_awake(
    window: float, cooldown: float
) -> None:
    begins = second_half(window, cooldown)

    assert len(begins) == HALF
    assert sum(at <= window < at + LONG_SECONDS for at in begins) == 10
    asleep_from = 0.0
    for at in begins:
        assert at < asleep_from + cooldown
        asleep_from = at + LONG_SECONDS


def test_a_book_keeps_the_figures_of_other_runs_and_writes_the_table(tmp_path: Path) -> None:
    file = tmp_path / FILE.name
    Book(file).put("shrink", "scaler", {"interrupted": 0, "redelivered": 0})
    book = Book(file)
    book.put("shrink", "keda-default", {"interrupted": 3, "redelivered": 3})

    assert book.get("shrink", "scaler")["interrupted"] == 0
    assert set(json.loads(file.read_text(encoding="utf-8"))["shrink"]) == {"scaler", "keda-default"}
    (row,) = [
        line for line in (tmp_path / REPORT.name).read_text(encoding="utf-8").splitlines() if "interrupted" in line
    ]
    assert [cell.strip() for cell in row.split("|")[2:5]] == ["3", NOT_MEASURED, "0"]
    with pytest.raises(KeyError):
        book.get("burst", "scaler")


def test_the_table_tells_what_was_not_asked_from_what_was_not_measured() -> None:
    lines = rendered({}).splitlines()

    (row,) = [line for line in lines if "leader is killed" in line]
    assert [cell.strip() for cell in row.split("|")[2:5]] == [NOT_ASKED, NOT_ASKED, NOT_MEASURED]


def test_the_table_sets_the_simulator_beside_the_cluster() -> None:
    figures = {
        "burst": {"scaler": {"figures": {"wait_p95": 50.0, "done": 60.0}}},
        "simulator": {"scaler": {"figures": {"wait_p95": 55.0, "done": 57.0}}},
    }

    lines = [line for line in rendered(figures).splitlines() if line.startswith("| built-in")]

    assert "| 55.0 s | 50.0 s | +10% |" in lines[0]
    assert "| 57.0 s | 60.0 s | -5% |" in lines[1]


def test_the_documented_table_is_that_of_the_figures() -> None:
    assert REPORT.read_text(encoding="utf-8") == rendered(json.loads(FILE.read_text(encoding="utf-8")))
