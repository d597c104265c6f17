"""Effects and outbox on SQLite and PostgreSQL, with real workers and relays that are killed in the middle."""

from __future__ import annotations

import re
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, func, select

from effect_tasks import payments
from postgres import PrivatePostgres
from processes import Stack, free_port
from waiting import eventually
from warren import Context
from warren.client import Client
from warren.settings import BrokerSettings
from warren.sql import create_tables, effects, enqueue, fence, metadata, once, outbox
from warren.sql.relay import _take


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(free_port())
    try:
        server.start()
        yield server
    finally:
        server.remove()


def new_database(postgres: PrivatePostgres) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres.url.rpartition("/")[0] + f"/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/mine.db"
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres")).replace("postgresql:", "postgresql+psycopg:")
    made = create_engine(url)
    create_tables(made)
    payments.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def stack(amqp: BrokerSettings, tmp_path: Path, engine: Engine) -> Iterator[Stack]:
    made = Stack(
        folder=tmp_path,
        broker=amqp,
        tasks="effect_tasks",
        environment={"WARREN_OUTBOX_URL": url_of(engine), "WARREN_PROBE_BIND": "127.0.0.1:0"},
    )
    yield made
    made.stop()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


@pytest.mark.parametrize("committed", [True, False])
def test_the_second_of_two_runs_at_once_waits_for_the_first_and_is_told_right(engine: Engine, committed: bool) -> None:
    told: list[bool] = []
    asking = threading.Event()

    def second() -> None:
        with engine.begin() as connection:
            asking.set()
            told.append(once(connection, "job", "pay"))

    with engine.connect() as connection:
        assert once(connection, "job", "pay")
        other = threading.Thread(target=second)
        other.start()
        asking.wait(5)
        other.join(0.3)
        assert told == []
        if committed:
            connection.commit()
        else:
            connection.rollback()
    other.join(10)

    assert told == [not committed]


def test_a_fence_holds_on_both_databases(engine: Engine) -> None:
    passed = []
    for attempt, round_ in ((1, 0), (3, 0), (2, 0), (1, 1), (3, 0)):
        with engine.begin() as connection:
            passed.append(fence(connection, Context(job_id="j", task="t", attempt=attempt, round=round_)))

    assert passed == [True, True, False, True, False]


def test_two_relays_never_hold_the_same_row(engine: Engine) -> None:
    with engine.begin() as connection:
        for _ in range(10):
            enqueue(connection, "some.task")

    if engine.dialect.name == "postgresql":
        with engine.begin() as one, engine.begin() as other:
            first, second = _take(one, "a", 1, 60_000, 6), _take(other, "b", 1, 60_000, 6)
    else:
        with engine.begin() as one:
            first = _take(one, "a", 1, 60_000, 6)
        with engine.begin() as other:
            second = _take(other, "b", 1, 60_000, 6)

    assert [row.position for row in first] == list(range(1, 7))
    assert [row.position for row in second] == list(range(7, 11))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_effect_is_made_once_though_its_worker_is_killed(stack: Stack, engine: Engine, moment: str) -> None:
    (stack.folder / f"kill-{moment}").touch()
    stack.start_server()
    worker = stack.start_worker()

    with Client(stack.url) as client:
        arguments = {"url": url_of(engine), "folder": str(stack.folder), "die": moment}
        job = client.submit("effect.pay", arguments)
        assert worker.wait(60) == -signal.SIGKILL
        stack.start_worker()
        done = client.wait(job, timeout_seconds=90)

    assert done.succeeded
    assert done.attempt > 1
    assert done.result is (moment == "before")
    with engine.connect() as connection:
        assert connection.execute(select(payments.c.job)).scalars().all() == [job.id]
        assert connection.execute(select(func.count()).select_from(effects)).scalar() == 1


@pytest.mark.timeout(240)
def test_a_relay_killed_between_confirm_and_delete_costs_a_copy_and_no_job(
    stack: Stack, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.start_server()
    (stack.folder / "kill-1").touch()
    with engine.begin() as connection:
        jobs = [enqueue(connection, "effect.pay", {"url": url_of(engine), "folder": ""}) for _ in range(5)]

    killed = stack._start("killed_relay")
    assert killed.wait(60) == -signal.SIGKILL
    with engine.begin() as connection:
        assert connection.execute(select(outbox.c.job)).scalars().all() == jobs
        connection.execute(outbox.update().values(leased_ms=0))
    relay = stack._start("warren.sql")
    eventually(lambda: waiting(engine) == 0, 60)
    stack.start_worker()

    with Client(stack.url) as client:
        eventually(lambda: all(seen(stack, job) for job in jobs), 60)
        assert [client.wait(job, timeout_seconds=60).succeeded for job in jobs] == [True] * 5
        assert sorted(found.id for found in client.jobs().jobs) == sorted(jobs)
    with engine.connect() as connection:
        assert sorted(connection.execute(select(payments.c.job)).scalars()) == sorted(jobs)
    relay.terminate()
    assert relay.wait(30) == 0


def waiting(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(outbox)).scalar_one()


def seen(stack: Stack, job: str) -> bool:
    return httpx.get(f"{stack.url}/v1/jobs/{job}", timeout=10).status_code == 200


def test_the_tables_written_out_in_the_guides_are_the_tables(postgres: PrivatePostgres) -> None:
    guides = Path(__file__).parents[2] / "docs" / "how-to"
    texts = [(guides / page).read_text() for page in ("exactly-once.md", "outbox.md")]
    ddl = [block for text in texts for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)]
    name = new_database(postgres)
    with psycopg.connect(name, autocommit=True) as connection:
        for block in ddl:
            connection.execute(block.encode())

    engine = create_engine(name.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection_:
        found = compare_metadata(MigrationContext.configure(connection_, opts={"compare_type": True}), metadata)
    engine.dispose()

    assert len(ddl) == 2
    assert found == []
