"""The table of docs/explanation/autoscaling-measured.md: the same load under KEDA, KEDA tuned, and Warren's scaler."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from e2e.autoscaling.figures import MODES, Book
from e2e.autoscaling.fleet import MOST, Fleet, KedaFleet, ScalerFleet
from e2e.autoscaling.jobs import Jobs
from e2e.autoscaling.scenarios import BURST, BURST_SECONDS, HALF, HELD, blind, burst, last, shrink, together, wake
from e2e.installation import Installation
from waiting import eventually

pytestmark = pytest.mark.usefixtures("environment", "alone")

FLOOR_SECONDS = 0.95 * BURST * BURST_SECONDS / MOST
"""How long 95 of 100 jobs of the burst wait at most when all workers are there from the start: the work itself."""
LAST_SECONDS = 150.0
"""Longer than the cooldown of the chart's ScaledObject, within which KEDA lets a fleet without work be."""
WAKES = {"keda-default": 1, "keda-tuned": 2, "scaler": 3}
"""Runs of each; those of KEDA differ little, for the job comes in the middle between two polls."""
REPLAYS = 20


def test_a_burst_starts_twenty_workers(fleet: Fleet, jobs: Jobs, book: Book) -> None:
    fleet.engage()

    found = burst(fleet, jobs)

    book.put("burst", fleet.mode, found.as_json())
    assert found.running is not None
    assert found.redelivered == 0


def test_the_built_in_scaler_needs_half_of_kedas_time_for_a_burst(book: Book) -> None:
    ours, kedas = (book.get("burst", mode) for mode in ("scaler", "keda-default"))

    assert ours["replicas"][0] == MOST
    assert ours["running"] <= kedas["running"] / 2
    assert ours["wait_p95"] < kedas["wait_p95"]
    # Half of all the wait cannot be had: most of it is the work itself, and the start of pods, which takes the longer
    # the more of them share a node's cores. What is left is the autoscaler's doing.
    assert owed(ours) <= owed(kedas) / 2


def owed(found: Mapping[str, Any]) -> float:
    """Return the part of the wait that is neither the work nor the start of pods."""
    return float(found["wait_p95"]) - FLOOR_SECONDS - float(found["start"])


def test_no_long_job_is_interrupted_while_the_built_in_scaler_shrinks_a_fleet(
    fleets: list[Fleet], builtin: ScalerFleet, jobs: Jobs, book: Book
) -> None:
    for one in fleets:
        one.engage()
    # What it would have learnt of a queue of such jobs.
    builtin.annotate(expected_job_seconds=60)

    found = together({one.mode: partial(shrink, one, jobs) for one in fleets})

    for mode, figures in found.items():
        book.put("shrink", mode, figures.as_json())
    ours = found["scaler"]
    assert (ours.jobs, ours.interrupted, ours.redelivered) == (2 * HALF, 0, 0)
    assert (ours.deleted_busy, ours.killed) == (0, 0)
    assert ours.running_then > 0
    assert ours.deleted > 0


def test_a_fleet_is_held_while_the_management_api_is_away(
    scaled: Installation, tuned: KedaFleet, builtin: ScalerFleet, jobs: Jobs, book: Book
) -> None:
    tuned.engage()
    builtin.engage()
    # It would let idle workers go after 5 s, if it took what it cannot see for nothing. At most ten, for it counts a
    # job twice that a worker has begun since the broker counted.
    builtin.annotate(stabilization_seconds=5, expected_job_seconds=30, max=HELD)

    found = blind({tuned: 60.0, builtin: 30.0}, jobs, scaled.namespace)

    for mode, figures in found.items():
        book.put("blind", mode, figures.as_json())
    for figures in found.values():
        assert (figures.before, figures.meanwhile) == (HELD, [HELD])
        assert figures.idle < figures.down
        assert figures.interrupted == 0


def test_a_single_job_wakes_a_fleet(fleet: Fleet, jobs: Jobs, book: Book) -> None:
    found = []
    for _ in range(WAKES[fleet.mode]):
        fleet.rest()
        # What the broker has counted is some seconds old, and KEDA looks as soon as its ScaledObject is there.
        eventually(lambda: jobs.depth(fleet.queue) == 0, 30, 1)
        fleet.engage()
        found.append(wake(fleet, jobs))

    book.put("wake", fleet.mode, [one.as_json() for one in found])
    assert all(one.asked < fleet.poll_seconds + 15 for one in found)


def test_the_simulator_foretells_the_burst(book: Book) -> None:
    warren = str(Path(sys.executable).parent / "warren")
    for index, mode in enumerate(MODES):
        measured = book.get("burst", mode)
        command = [warren, "bench", "scaling", "--trace", "burst", "--max", str(MOST), "--concurrency", "1"]
        command += ["--start-seconds", str(measured["start"]), "--runs", str(REPLAYS), "--json"]
        scores = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
        score = scores[(1, 2, 0)[index]]
        told = {
            "rule": score["rule"],
            "command": " ".join(["warren", *command[1:]]),
            "running": score["reach_seconds"],
            "wait_p95": round(score["wait_p95_seconds"], 1),
            "done": round(score["finished_seconds"], 1),
        }
        book.put("simulator", mode, told)

    told, measured = book.get("simulator", "scaler"), book.get("burst", "scaler")

    assert told["wait_p95"] == pytest.approx(measured["wait_p95"], rel=0.25)
    assert told["done"] == pytest.approx(measured["done"], rel=0.25)


def test_the_worker_of_the_last_job_is_kept_to_its_end(
    tuned: KedaFleet, builtin: ScalerFleet, jobs: Jobs, book: Book
) -> None:
    tuned.engage()
    builtin.engage()
    builtin.annotate(stabilization_seconds=10)

    found = together(
        {
            tuned.mode: partial(last, tuned, jobs, LAST_SECONDS, 240),
            builtin.mode: partial(last, builtin, jobs, LAST_SECONDS, 120),
        }
    )

    for mode, figures in found.items():
        book.put("last", mode, figures.as_json())
    for figures in found.values():
        assert figures.kept
        assert figures.interrupted == 0
        assert (figures.replicas[0], figures.replicas[-1]) == (0, 0)
        assert 0 not in figures.replicas[1:-1]
    marks = found["scaler"]
    assert marks.guarded is not None
    assert marks.unguarded is not None
    assert 30 <= marks.guarded <= 45
    assert marks.unguarded <= 10
