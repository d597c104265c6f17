"""Busy workers that are taken away, by deletion and by `kubectl scale`, finish what they run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from e2e.installation import Installation
from e2e.under_load.evicting import ready
from e2e.under_load.strain import WORKERS, Strain, strain
from waiting import eventually

DEPLOYMENT = "deployment/warren-worker-default"
JOB_SECONDS = 5.0
DRAIN_SECONDS = 30.0
SLOW = ({"task": "load.rest", "arguments": {"seconds": JOB_SECONDS}, "share": 1},)


@pytest.fixture
def three(production: Installation) -> Iterator[Installation]:
    """Three workers, after the test too."""
    yield production
    production.namespace.kubectl("scale", DEPLOYMENT, "--replicas=3")
    eventually(lambda: len(ready(production.namespace, WORKERS)) == 3, 90, interval_seconds=2)


def test_a_busy_worker_that_is_deleted_finishes_its_jobs(three: Installation) -> None:
    with strain(three, "deleted", rate=6, mix=SLOW) as strained:
        struck = ready(three.namespace, WORKERS)[0]
        began = time.time()
        three.namespace.kubectl("delete", "pod", struck, "--timeout=90s")
        took = time.time() - began

        assert_uninterrupted(strained, [struck], began, f"deleted worker gone in {took:.1f} s")
        assert took < DRAIN_SECONDS


def test_scaling_in_interrupts_no_job(three: Installation) -> None:
    with strain(three, "scaled", rate=6, mix=SLOW) as strained:
        before = set(ready(three.namespace, WORKERS))
        began = time.time()
        three.namespace.kubectl("scale", DEPLOYMENT, "--replicas=1")
        gone = eventually(
            lambda: len(strained.ends.of) == 2 and set(strained.ends.of), DRAIN_SECONDS + 15, interval_seconds=0.2
        )
        took = max(end.at for end in strained.ends.of.values()) - began

        assert gone < before
        assert_uninterrupted(strained, sorted(gone), began, f"scaled from 3 to 1 in {took:.1f} s")
        assert took < DRAIN_SECONDS


def assert_uninterrupted(strained: Strain, struck: Sequence[str], began: float, what: str) -> None:
    """Stop the load, and hold it against what its jobs tell."""
    eventually(lambda: set(struck) <= set(strained.ends.of), 10)
    account = strained.judge()
    carried = [job["id"] for job in strained.jobs if runs_through(job, struck, began)]
    print(f"\n{what}; {len(carried)} jobs ran on there to their end; {account}")
    assert len(carried) >= len(struck)
    assert not account.failed
    assert not account.lost
    assert not account.burnt
    assert not account.killed
    assert set(account.numbers) == {1}
    assert not strained.ends.killed


def runs_through(job: Mapping[str, Any], pods: Sequence[str], at: float) -> bool:
    """Say whether a job ran in one of the pods at that time and came to its end there."""
    # A worker's name is its host's and the number of its process.
    return any(
        attempt["worker"].rpartition("-")[0] in pods
        and attempt["outcome"] == "succeeded"
        and seconds(attempt["started_at"]) < at < seconds(attempt["finished_at"])
        for attempt in job["attempts"]
    )


def seconds(told: str | None) -> float:
    assert told is not None
    return datetime.fromisoformat(told).timestamp()
