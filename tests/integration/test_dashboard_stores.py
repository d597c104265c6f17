"""What the dashboard reads of the store, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from letter_kit import row
from postgres import PrivatePostgres
from processes import free_port
from warren.envelope import new_job_id
from warren.events import Event, State
from warren.memory import MemoryTransport
from warren.topology import topology
from warren_server.announcer import Announcer
from warren_server.settings import StoreSettings
from warren_server.store.announcements import AnnouncementStore
from warren_server.store.dead_letters import DeadLetterStore
from warren_server.store.engine import Database
from warren_server.store.jobs import JobFilter, JobStore
from warren_server.store.rates import MINUTE_MS, RateStore
from warren_server.store.workers import WorkerStore
from warren_server.workers import Workers


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(free_port())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgresql":
        import psycopg

        server: PrivatePostgres = request.getfixturevalue("postgres")
        url = server.url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
    made = Database(StoreSettings.model_validate({"url": url}))
    yield made
    made.close()


def event(state: State, *, job: str | None = None, minute: float = 1, **fields: object) -> Event:
    told = {"task": "t", "queue": "q", "enqueued_ms": 1, "attempt": 1, "started_ms": 1, **fields}
    return Event(job=job or new_job_id(), state=state, at_ms=int(minute * MINUTE_MS), **told)  # type: ignore[arg-type]


def test_jobs_that_ended_and_dead_letters_are_counted_by_the_minute(database: Database) -> None:
    ended = [event(State.SUCCEEDED, minute=minute) for minute in (9.99, 10, 10.5, 12.99, 13)]
    JobStore(database).project([*ended, event(State.RUNNING, minute=11)])
    letters = DeadLetterStore(database)
    gone = row(dead_ms=11 * MINUTE_MS)
    letters.add([row(dead_ms=11 * MINUTE_MS), row(dead_ms=12 * MINUTE_MS - 1), gone])
    letters.purge_one(gone["id"], 1)

    rates = RateStore(database)

    assert rates.ended(10, 12) == {10: 2, 12: 1}
    assert rates.died(10, 12) == {11: 2}


def test_workers_are_known_by_what_they_run_and_ran(database: Database) -> None:
    store, transport = WorkerStore(database), MemoryTransport()
    jobs = JobStore(database)
    busy, older = event(State.RUNNING, worker="w1", minute=2), event(State.RUNNING, worker="w1", minute=1)
    done = event(State.SUCCEEDED, worker="w2", minute=3)
    retried = new_job_id()
    jobs.project([older, busy, done, event(State.SUCCEEDED, worker="", minute=3)])
    jobs.project(
        [event(State.RETRYING, job=retried, worker="w3"), event(State.QUEUED, job=retried, attempt=0, round=1)]
    )
    transport.start()
    transport.declare(topology(["q"])).result(5)
    workers = Workers(store, Announcer(transport, AnnouncementStore(database), 5))

    workers.drain("w2")
    workers.drain("gone")
    w1, w2, w3 = workers.all()

    assert (w1.name, w1.seen_ms, w1.draining) == ("w1", 2 * MINUTE_MS, False)
    assert {job["id"] for job in w1.running} == {busy.job, older.job}
    assert (w2.name, w2.running, w2.seen_ms, w2.draining) == ("w2", [], 3 * MINUTE_MS, True)
    assert (w3.name, w3.running) == ("w3", [])
    assert [job["id"] for job in store.running(1)] == [min(busy.job, older.job)]
    workers.undrain("w2")
    assert [worker.draining for worker in workers.all()] == [False, False, False]
    transport.stop()


def test_jobs_are_found_by_the_beginning_of_their_id(database: Database) -> None:
    jobs = JobStore(database)
    ids = [
        "0190ab00-0000-7000-8000-00000000000f",
        "0190ab00-0000-7000-8000-0000000000f0",
        "0190ac00-0000-7000-8000-000000000000",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ]
    jobs.project([event(State.QUEUED, job=job) for job in ids])

    def found(prefix: str) -> list[str]:
        return [job["id"] for job, _ in jobs.list(JobFilter(prefix=prefix), 10)]

    assert found("0190ab") == ids[1::-1]
    assert found("0190ab00-0000-7000-8000-0000000000f") == [ids[1]]
    assert found("0190") == ids[2::-1]
    assert found("ffff") == [ids[3]]
    assert found("0190ad") == []
