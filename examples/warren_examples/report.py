"""What the demo expects of its jobs, and the table at its end. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from warren.client import JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The demo in numbers; times in seconds."""

    jobs: int
    succeeded: int
    retried: int
    dead: int
    wait_p50: float
    wait_p95: float
    run_p50: float
    run_p95: float


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the smallest value that at least this fraction of the values do not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)] if ordered else 0.0


def totals(jobs: Sequence[JobView]) -> Totals:
    """Add up the jobs."""
    waits = [job.wait_seconds for job in jobs if job.wait_seconds is not None]
    runs = [job.run_seconds for job in jobs if job.run_seconds is not None]
    return Totals(
        jobs=len(jobs),
        succeeded=sum(job.state == "succeeded" for job in jobs),
        retried=sum(job.attempt > 1 for job in jobs),
        dead=sum(job.state == "dead" for job in jobs),
        wait_p50=percentile(waits, 0.5),
        wait_p95=percentile(waits, 0.95),
        run_p50=percentile(runs, 0.5),
        run_p95=percentile(runs, 0.95),
    )


def wrong(jobs: Mapping[str, JobView], submitted: Mapping[str, str]) -> list[str]:
    """Say which jobs did not end as their task should.

    Args:
        jobs: What the server knows, by id.
        submitted: The task of every job that was accepted, by id.
    """
    complaints = []
    for job_id, task in submitted.items():
        expected = "dead" if task == "doomed" else "succeeded"
        job = jobs.get(job_id)
        if job is None:
            complaints.append(f"{job_id} ({task}) is not known to the server")
        elif job.state != expected:
            reason = f": {job.error.type}: {job.error.message}" if job.error else ""
            complaints.append(f"{job_id} ({task}) is {job.state}, not {expected}{reason}")
        elif task == "flaky" and job.attempt < 3:
            complaints.append(f"{job_id} (flaky) succeeded in attempt {job.attempt}, not 3")
    return complaints
