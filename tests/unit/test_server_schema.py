"""A store that another release's server has migrated."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sqlalchemy import text

from server_kit import database
from warren.events import Event, State
from warren_server.store import engine
from warren_server.store.engine import Database
from warren_server.store.jobs import JobStore

JOB = "0190c8a4-5b1e-7c3a-9f00-0123456789ab"


def submitted() -> Event:
    return Event(job=JOB, state=State.QUEUED, attempt=0, at_ms=1, task="greet", queue="default", enqueued_ms=1)


def change(store: Database, *statements: str) -> None:
    with store.write() as connection:
        for statement in statements:
            connection.execute(text(statement))
    store.close()


def test_a_server_works_on_the_schema_of_a_newer_release_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(
        database(tmp_path),
        "UPDATE alembic_version SET version_num = '9999'",
        "ALTER TABLE jobs ADD COLUMN novelty TEXT",
        "ALTER TABLE jobs ADD COLUMN weight BIGINT NOT NULL DEFAULT 0",
    )
    store = database(tmp_path)
    jobs = JobStore(store)

    with caplog.at_level(logging.WARNING):
        jobs.record([submitted()])
        jobs.project([submitted()])

    assert jobs.state(JOB) == "queued"
    assert [record.event for record in caplog.records] == ["schema_newer"]  # type: ignore[attr-defined]
    with store.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    store.close()


def test_a_newer_server_that_is_faster_with_the_migration_is_not_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(database(tmp_path), "UPDATE alembic_version SET version_num = '9999'")
    real, answers = engine._revision, iter(["0001"])
    monkeypatch.setattr(engine, "_revision", lambda connection: next(answers, None) or real(connection))
    store = database(tmp_path)

    JobStore(store).record([submitted()])

    assert JobStore(store).state(JOB) == "queued"
    store.close()
