"""How long ended jobs are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from warren.envelope import new_job_id
from warren.events import Event, State
from warren_server.retention import Retention
from warren_server.settings import StoreSettings
from warren_server.store.engine import Database
from warren_server.store.jobs import JobFilter, JobStore
from warren_server.store.retention import BATCH, RetentionStore

DAY_MS = 86_400_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(StoreSettings.model_validate({"url": f"sqlite:///{tmp_path}/store.db"}))
    yield made
    made.close()


def end(jobs: JobStore, count: int, at_ms: int) -> None:
    jobs.project(
        [
            Event(job=new_job_id(), state=State.SUCCEEDED, attempt=1, at_ms=at_ms, task="t", queue="q", enqueued_ms=1)
            for _ in range(count)
        ]
    )


def test_jobs_older_than_their_days_go_in_batches_and_the_others_stay(database: Database) -> None:
    jobs = JobStore(database)
    end(jobs, BATCH + 7, at_ms=5)
    end(jobs, 3, at_ms=2 * DAY_MS)
    retention = Retention(RetentionStore(database), keep_days=1.5, now_ms=lambda: 3 * DAY_MS)

    forgotten = [retention.look(), retention.look()]

    assert forgotten == [BATCH + 7, 0]
    assert len(jobs.list(JobFilter(), 10)) == 3


def test_zero_days_keep_all_for_ever(database: Database) -> None:
    jobs = JobStore(database)
    end(jobs, 3, at_ms=5)

    assert Retention(RetentionStore(database), keep_days=0, now_ms=lambda: 3000 * DAY_MS).look() == 0
    assert len(jobs.list(JobFilter(), 10)) == 3
