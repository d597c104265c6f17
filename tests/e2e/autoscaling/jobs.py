"""Jobs of the scenarios: submitted, waited for, and what the server tells of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from waiting import eventually

Record = Mapping[str, Any]
FINAL = {"succeeded", "dead", "cancelled", "expired"}


class Jobs:
    """Jobs of the task `nap`.

    Args:
        api: The server, reached as its administrator.
    """

    def __init__(self, api: httpx.Client) -> None:
        self._api = api

    def submit(self, queue: str, count: int, seconds: float) -> list[str]:
        """Submit so many jobs of so many seconds in one request."""
        jobs = [{"task": "nap", "queue": queue, "arguments": {"seconds": seconds}}] * count
        answer = self._api.post("/v1/jobs/batch", json={"jobs": jobs})
        assert answer.status_code in (200, 202, 207), answer.text
        items = answer.json()["jobs"]
        assert all("id" in item for item in items), items[0]
        return [item["id"] for item in items]

    def submit_one(self, queue: str, seconds: float) -> str:
        """Submit a job by itself, as most callers do."""
        body = {"task": "nap", "queue": queue, "arguments": {"seconds": seconds}}
        answer = self._api.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def depth(self, queue: str) -> int:
        """Count the jobs that wait or run, as the broker counted last."""
        told = self._api.get(f"/v1/queues/{queue}").raise_for_status().json()
        return int(told["ready"] or 0) + int(told["unacked"] or 0)

    def record(self, job: str) -> Record:
        return dict(self._api.get(f"/v1/jobs/{job}").raise_for_status().json())

    def records(self, queue: str, jobs: Sequence[str]) -> list[Record]:
        """Return what the server tells of jobs that are among the last thousand of a queue."""
        page = self._api.get("/v1/jobs", params={"queue": queue, "limit": 1000}).raise_for_status().json()
        known = {job["id"]: job for job in page["jobs"]}
        return [known[job] for job in jobs]

    def all_final(self, queue: str, jobs: Sequence[str]) -> list[Record]:
        """Return the records once each job has ended, else nothing."""
        found = self.records(queue, jobs)
        return found if all(job["state"] in FINAL for job in found) else []

    def finished(self, queue: str, jobs: Sequence[str], timeout_seconds: float) -> list[Record]:
        """Return the records when each job has ended."""
        return eventually(lambda: self.all_final(queue, jobs), timeout_seconds, 3)


def moment(told: str | None) -> float:
    """Read a time that must be known, as seconds since the epoch."""
    assert told is not None
    return datetime.fromisoformat(told).timestamp()


def interrupted(records: Sequence[Record]) -> list[Record]:
    """Return the jobs of which a run was cut short, by a drain that could not wait or by a kill."""
    return [job for job in records if any(one["outcome"] not in ("succeeded", None) for one in job["attempts"])]


def redelivered(records: Sequence[Record]) -> list[Record]:
    """Return the jobs that the broker handed out again, run before or not."""
    return [
        job
        for job in records
        if job["attempt"] != 1
        or len(job["attempts"]) != 1
        or any(one["redelivered"] or one["duplicate"] for one in job["attempts"])
    ]


def pod_of(attempt: Mapping[str, Any]) -> str:
    """Return the pod an attempt ran in: a worker's name is its host's and the number of its process."""
    return str(attempt["worker"]).rpartition("-")[0]


def first_starts(records: Sequence[Record]) -> dict[str, float]:
    """Return for each pod when it began its first job."""
    starts: dict[str, float] = {}
    for job in records:
        for attempt in job["attempts"]:
            at = moment(attempt["started_at"])
            starts[pod_of(attempt)] = min(at, starts.get(pod_of(attempt), at))
    return starts


def runs_at(records: Sequence[Record], pod: str, at: float) -> bool:
    """Say whether a pod ran a job at a time."""
    return any(
        pod_of(attempt) == pod
        and moment(attempt["started_at"]) < at
        and (attempt["finished_at"] is None or moment(attempt["finished_at"]) > at)
        for job in records
        for attempt in job["attempts"]
    )
