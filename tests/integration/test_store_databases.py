from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from postgres import PrivatePostgres
from processes import free_port
from waiting import eventually
from warren.envelope import Message, new_job_id
from warren.events import ErrorInfo, Event, State
from warren_server.dead import rejected_row
from warren_server.errors import StoreDown, StoreRefused
from warren_server.settings import StoreSettings
from warren_server.store import migrations
from warren_server.store.dead_letters import DeadLetterFilter, DeadLetterStore
from warren_server.store.durations import DurationStore
from warren_server.store.engine import Database
from warren_server.store.fold import fold
from warren_server.store.jobs import JobFilter, JobStore
from warren_server.store.queue_settings import QueueSettingsStore
from warren_server.store.retention import RetentionStore
from warren_server.store.schema import metadata
from warren_server.store.tokens import TokenStore, digest


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(free_port())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: PrivatePostgres = request.getfixturevalue("postgres")
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    made = Database(StoreSettings.model_validate({"url": url}))
    yield made
    made.close()


def event(job: str, state: State, attempt: int = 1, at_ms: int = 2000, **fields: object) -> Event:
    at: dict[str, object] = {"task": "t", "queue": "q", "enqueued_ms": 1000, **fields}
    return Event(job=job, state=state, attempt=attempt, at_ms=at_ms, **at)  # type: ignore[arg-type]


def test_migrations_end_in_the_schema_the_code_has(database: Database) -> None:
    with database.write() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    assert differences == []


def test_jobs_are_forgotten_by_the_age_of_their_end(database: Database) -> None:
    store, letters = JobStore(database), DeadLetterStore(database)
    old, fresh, open_, dead, purged = (new_job_id() for _ in range(5))
    ended = {"started_ms": 1500, "outcome": "failed"}
    store.project(
        [
            event(old, State.SUCCEEDED, at_ms=2000, **ended),
            event(fresh, State.SUCCEEDED, at_ms=9000, **ended),
            event(open_, State.RETRYING, at_ms=2000, retry_at_ms=9000, **ended),
            event(dead, State.DEAD, at_ms=2000, **ended),
            event(purged, State.DEAD, at_ms=2000, **ended),
        ]
    )
    for job in (dead, purged):
        letters.add([{**rejected_row(Message(body=job.encode()), "q", "bad"), "id": job, "job": job}])
    letters.purge_one(purged, 3000)

    forgotten = RetentionStore(database).forget(8000)

    assert forgotten == 2
    assert [store.get(job) is not None for job in (old, fresh, open_, dead, purged)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_the_newest_revision_is_the_one_the_code_knows() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))

    assert scripts.get_current_head() == migrations.HEAD


def test_many_processes_may_start_at_once(url: str) -> None:
    program = (
        "import sys; from warren_server.settings import StoreSettings; from warren_server.store.engine import Database;"
        "Database(StoreSettings.model_validate({'url': sys.argv[1]})).migrate()"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE) for _ in range(4)]

    failures = [process.communicate(timeout=60)[1].decode() for process in started]

    assert [process.returncode for process in started] == [0, 0, 0, 0], failures


def test_rows_are_what_the_pure_fold_says(database: Database) -> None:
    store, job = JobStore(database), new_job_id()
    error = ErrorInfo(type="E", message="m", traceback="t")
    events = [
        event(job, State.QUEUED, 0, 1000),
        event(job, State.RUNNING, 1, 2000, started_ms=2000, progress=0.5, worker="w"),
        event(job, State.RETRYING, 1, 3000, started_ms=2000, outcome="failed", error=error, retry_at_ms=9000),
        event(job, State.SUCCEEDED, 2, 9500, started_ms=9000, outcome="succeeded", result='"ü"', redelivered=True),
    ]

    store.record(events[:1])
    store.project(events[3:])
    store.project(events[1:3])
    store.project(events[1:])

    rows, runs = fold({}, {}, events)
    row = {**rows[job], "cancel_requested_ms": None}
    assert store.get(job) == (row, [runs[job, 1], runs[job, 2]])
    assert store.list(JobFilter(), 10) == [(row, [runs[job, 1], runs[job, 2]])]
    assert store.counts() == {"q": {"succeeded": 1}}
    assert store.state(job) == "succeeded"


def test_processes_with_the_same_jobs_do_not_block_each_other_for_ever(database: Database) -> None:
    store, jobs = JobStore(database), [new_job_id() for _ in range(30)]
    database.migrate()

    def project(attempt: int) -> None:
        order = jobs if attempt % 2 else jobs[::-1]
        for start in range(0, 30, 10):
            store.project([event(job, State.RUNNING, attempt, started_ms=1) for job in order[start : start + 10]])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(project, range(1, 13)))

    assert all(len(runs) == 12 for _, runs in store.list(JobFilter(), 50))


def test_dead_letters_are_kept_once_and_listed_latest_first(database: Database) -> None:
    store = DeadLetterStore(database)
    rows = [{**rejected_row(Message(body=bytes([number])), "q", "bad"), "at_ms": number} for number in range(3)]
    later = {**rows[0], "at_ms": 10, "reason": "later"}

    store.add(rows)
    store.add([later, rows[0], later])
    store.add([rows[0]])

    found = store.list(DeadLetterFilter(), 10)
    assert [{name: row[name] for name in later} for row in found] == [later, rows[2], rows[1]]
    assert store.list(DeadLetterFilter(), 10, before=(2, rows[2]["id"])) == [found[2]]
    assert store.get(rows[1]["id"]) == found[2]


def test_tokens_are_found_by_hash_until_revoked(database: Database) -> None:
    store = TokenStore(database)
    before = store.any()
    token, secret = store.create("ci", ["read"], 60)

    assert not before
    assert store.any()
    assert store.find(digest(secret)) == token
    assert [store.revoke(token.id), store.revoke(token.id)] == [True, False]
    assert store.all() == []


def test_changes_of_a_queue_exclude_each_other_and_are_told_apart_by_their_lease(database: Database) -> None:
    store = QueueSettingsStore(database)
    usual = store.get("q" * 190)
    first = store.claim("q" * 190, 1000, 2000, {"paused": True, "priority": 3})

    assert first == replace(usual, paused=True, priority=3, lease_ms=2000, updated_ms=1000)
    assert store.claim("q" * 190, 1999, 3000, {"paused": False}) is None
    assert store.claim("other", 1999, 3000, {"max_length": 5}) is not None
    assert store.unsettled(1999) == []
    assert [each.queue for each in store.unsettled(2001)] == ["q" * 190]
    taken_over = store.claim("q" * 190, 2001, 3001, {"concurrency": 2}, new_tokens=True)
    assert taken_over is not None
    assert (taken_over.paused, taken_over.generation) == (True, 1)
    assert store.release(first, told_paused=True) is False
    assert store.release(taken_over, told_paused=True, told_generation=1) is True
    assert store.get("q" * 190).settled
    assert store.claim("q" * 190, 4000, 5000, {}, new_tokens=True, seen=first) is None
    store.doubt("q" * 190)
    assert not store.get("q" * 190).settled
    assert sorted(store.all()) == ["other", "q" * 190]


def test_of_many_servers_that_make_the_same_tokens_one_does(database: Database) -> None:
    store = QueueSettingsStore(database)
    store.claim("q", 1000, 2000, {"concurrency": 2}, new_tokens=True)
    seen = store.get("q")

    def claim(number: int) -> bool:
        return store.claim("q", 3000, 4000 + number, {}, new_tokens=True, seen=seen) is not None

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(16)))

    assert won.count(True) == 1
    assert store.get("q").generation == 2


def test_a_value_the_database_cannot_hold_is_refused_for_good(database: Database) -> None:
    with pytest.raises((StoreRefused, OverflowError)):
        JobStore(database).project([event(new_job_id(), State.RUNNING, started_ms=10**30)])


def test_the_latest_runs_of_a_queue_are_read_back(database: Database) -> None:
    store, jobs = DurationStore(database), sorted(new_job_id() for _ in range(6))
    ends = [State.SUCCEEDED, State.DEAD, State.SUCCEEDED, State.RUNNING, State.SUCCEEDED, State.SUCCEEDED]
    for number, (job, state) in enumerate(zip(jobs, ends, strict=True), start=1):
        outcome = "succeeded" if state.final else None
        fields = {"queue": "other" if number == 5 else "q", "outcome": outcome, "started_ms": 2000}
        JobStore(database).project([event(job, state, at_ms=2000 + number * 1000, **fields)])
    # A job that was tried twice counts by its last run, and one that never ran not at all.
    again = event(jobs[0], State.SUCCEEDED, 2, 9500, queue="q", outcome="succeeded", started_ms=9000)
    JobStore(database).project([again, event(new_job_id(), State.CANCELLED, queue="q")])

    assert store.latest("q", 50) == [6.0, 3.0, 2.0, 0.5]
    assert store.latest("q", 1) == [6.0, 2.0]
    assert store.latest("nothing", 50) == []
    assert (store.running("q"), store.running("other")) == (1, 0)


def test_a_locked_sqlite_file_is_a_store_that_is_down_and_comes_back(tmp_path: Path) -> None:
    settings = StoreSettings.model_validate({"url": f"sqlite:///{tmp_path}/store.db"})
    holder, other = Database(settings), Database(settings)
    job, held, release = new_job_id(), threading.Event(), threading.Event()
    JobStore(other).counts()

    def hold() -> None:
        with holder.write() as connection:
            connection.execute(text("DELETE FROM jobs"))
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)

    with pytest.raises(StoreDown, match="locked"):
        JobStore(other).record([event(job, State.QUEUED, 0)])
    release.set()
    thread.join(10)
    JobStore(other).record([event(job, State.QUEUED, 0)])

    assert JobStore(other).state(job) == "queued"
    holder.close()
    other.close()


def test_a_stopped_postgresql_is_down_and_comes_back(postgres: PrivatePostgres) -> None:
    database = Database(StoreSettings.model_validate({"url": postgres.url}))
    store = JobStore(database)
    store.counts()

    postgres.stop()
    with pytest.raises(StoreDown):
        store.counts()
    postgres.start()

    eventually(lambda: _answers(store), 10)
    database.close()


def _answers(store: JobStore) -> bool:
    try:
        store.counts()
    except StoreDown:
        return False
    return True
