"""Two releases at a time on one broker: today's parts and the last release's, real processes of both."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from processes import Stack, free_port
from releases import PACKAGES, ROOT, imported_from, last_release, python_path
from waiting import eventually
from warren.amqp import connect
from warren.envelope import Envelope, encode, new_job_id
from warren.settings import BrokerSettings
from warren.topology import DEAD, EVENTS, UNROUTABLE, level_name, queue_name
from warren.transport import Publication

JOBS = 300
KINDS: list[tuple[list[str], dict[str, Any], str]] = [
    (["ok"], {}, "succeeded"),
    (["fail", "ok"], {}, "succeeded"),
    (["ok"], {"delay": 2}, "succeeded"),
    (["fail"], {}, "dead"),
    (["discard"], {}, "dead"),
    (["fail", "fail", "ok"], {"max_attempts": 2, "delay": 1}, "dead"),
]
"""Script, options of the job, and the state it must reach."""


@pytest.fixture(autouse=True)
def _not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    # The last release's files would be in the coverage report, and gone by the time it is made.
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return last_release(tmp_path_factory.mktemp("last-release"))


@pytest.fixture
def stack(amqp: BrokerSettings, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(
        folder=tmp_path, broker=amqp, tasks="skew_tasks", environment={"WARREN_AMQP_RECONNECT_MAX_SECONDS": "1"}
    )
    yield made
    made.stop()


def test_the_last_releases_processes_run_its_own_code(old: Path) -> None:
    theirs = imported_from(python_path(old))
    ours = imported_from(str(ROOT / "tests"))

    assert all(theirs[name].is_relative_to(old) for name in PACKAGES)
    assert all(ours[name].is_relative_to(ROOT) for name in PACKAGES)


@pytest.mark.timeout(180)
def test_last_releases_worker_serves_this_server(stack: Stack, old: Path) -> None:
    stack.start_server()
    stack.start_worker(PYTHONPATH=python_path(old))

    expected = submit(stack.url, JOBS)

    finished = eventually(lambda: ended(stack.url, expected), 90, 0.5)
    assert states(finished) == expected
    assert all(Path(one["result"]).is_relative_to(old) for one in finished.values() if one["result"] is not None)
    check_dead_letters(stack, expected)
    check_nothing_is_left(stack)


@pytest.mark.timeout(180)
def test_this_worker_serves_the_last_releases_server(stack: Stack, old: Path) -> None:
    stack.start_server(PYTHONPATH=python_path(old))
    stack.start_worker()

    expected = submit(stack.url, JOBS)

    finished = eventually(lambda: ended(stack.url, expected), 90, 0.5)
    assert states(finished) == expected
    assert all(Path(one["result"]).is_relative_to(ROOT) for one in finished.values() if one["result"] is not None)
    check_dead_letters(stack, expected)
    check_nothing_is_left(stack)


@pytest.mark.timeout(240)
def test_a_roll_out_with_two_workers_and_a_server_of_each_release(stack: Stack, old: Path) -> None:
    theirs = python_path(old)
    stack.start_server(PYTHONPATH=theirs)
    old_url = stack.url
    old_workers = [stack.start_worker(PYTHONPATH=theirs) for _ in range(2)]
    expected = submit(old_url, JOBS // 3)
    stack.port = free_port()
    stack.start_server()
    for _ in range(2):
        stack.start_worker()
    expected |= submit(stack.url, JOBS // 3)
    expected |= submit(old_url, JOBS // 3)

    for worker in old_workers:
        worker.terminate()
    expected |= submit(stack.url, JOBS // 3)

    for url in (stack.url, old_url):
        finished = eventually(lambda url=url: ended(url, expected), 90, 0.5)
        assert states(finished) == expected
    assert [worker.wait(30) for worker in old_workers] == [0, 0]
    check_dead_letters(stack, expected)
    check_nothing_is_left(stack)


@pytest.mark.timeout(180)
def test_jobs_of_the_next_release_wait_for_its_workers(stack: Stack, amqp: BrokerSettings) -> None:
    stack.start_server(WARREN_TASKS="skew_tasks_next")
    today = stack.start_worker()
    unknown = httpx.post(f"{stack.url}/v1/jobs", json={"task": "skew.novelty"}, timeout=20).json()["id"]
    newer = put_newer_envelope(amqp)
    parked = [job for job in (unknown, newer) if eventually(lambda job=job: state(stack.url, job) == "parked", 30)]

    today.terminate()
    stack.start_worker(WARREN_TASKS="skew_tasks_next")

    for job in parked:
        # 32 s on the ladder.
        eventually(lambda job=job: state(stack.url, job) == "succeeded", 60, 0.5)
        assert [one["outcome"] for one in show(stack.url, job)["attempts"]] == ["succeeded"]
    check_nothing_is_left(stack)


def put_newer_envelope(amqp: BrokerSettings) -> str:
    """Publish a job as a producer of the next release does."""
    job = Envelope(
        id=new_job_id(),
        task="skew.work",
        queue="skew",
        body=json.dumps({"script": ["ok"]}).encode(),
        enqueued_ms=int(time.time() * 1000),
    )
    message = encode(job)
    newer = replace(message, headers={**message.headers, "warren-v": 2, "warren-novelty": "unheard of"})
    transport = connect(amqp)
    transport.start()
    try:
        publication = Publication(exchange="warren.jobs", routing_key="skew", message=newer)
        transport.publish(publication, wait_seconds=10).result(10)
    finally:
        transport.stop()
    return job.id


def submit(url: str, count: int) -> dict[str, str]:
    """Submit jobs of all kinds; return what must become of each."""
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    jobs = [{"task": "skew.work", "arguments": {"script": script}, **options} for script, options, _ in kinds]
    answer = httpx.post(f"{url}/v1/jobs/batch", json={"jobs": jobs}, timeout=30).json()["jobs"]
    assert [one["status"] for one in answer] == [202] * count
    return {one["id"]: kind[2] for one, kind in zip(answer, kinds, strict=True)}


def ended(url: str, expected: dict[str, str]) -> dict[str, dict[str, Any]] | None:
    """Return all jobs by id once all are final."""
    found: dict[str, dict[str, Any]] = {}
    cursor = None
    while True:
        parameters = {"limit": 500} | ({"cursor": cursor} if cursor else {})
        page = httpx.get(f"{url}/v1/jobs", params=parameters, timeout=30).json()
        found |= {job["id"]: job for job in page["jobs"] if job["finished_at"] is not None}
        cursor = page["cursor"]
        if cursor is None:
            return found if len(found) >= len(expected) else None


def states(finished: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {job: one["state"] for job, one in finished.items()}


def check_dead_letters(stack: Stack, expected: dict[str, str]) -> None:
    dead = {job for job, state in expected.items() if state == "dead"}
    letters = httpx.get(f"{stack.url}/v1/dead-letters", params={"limit": 500}, timeout=20).json()["dead_letters"]

    assert {letter["job"] for letter in letters} == dead
    assert all(letter["error"]["type"] for letter in letters)


def check_nothing_is_left(stack: Stack) -> None:
    """Wait until the broker's queues are empty."""
    transport = connect(stack.broker)
    transport.start()
    assert transport.wait_ready(10)
    names = [queue_name("skew"), DEAD, EVENTS, UNROUTABLE, *(level_name(level) for level in range(22))]
    try:
        eventually(lambda: all(transport.depth(name).result(10).ready == 0 for name in names), 20, 0.2)
    finally:
        transport.stop()


def show(url: str, job: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/v1/jobs/{job}", timeout=20).json())


def state(url: str, job: str) -> str | None:
    return show(url, job).get("state")
