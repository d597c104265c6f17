"""Effects and outbox on SQLite and the in-memory transport."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from waiting import eventually
from warren import Context, topology
from warren.envelope import Envelope, decode, job_id_for_key, new_job_id
from warren.errors import InvalidArguments, SettingsError, Unavailable, UnsupportedDatabase
from warren.memory import MemoryTransport
from warren.producer import Producer
from warren.settings import load
from warren.sql import Relay, create_tables, effects, enqueue, fence, fences, forget, once, outbox
from warren.sql.__main__ import main, open_engine
from warren.sql.settings import OutboxSettings
from warren.task import Registry, task
from warren.topology import queue_name

registry = Registry()


@task(queue="media", registry=registry)
def thumbnail(path: str, width: int = 256) -> None:
    """Make a picture small."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path}/mine.db", poolclass=NullPool)
    create_tables(made)
    yield made
    made.dispose()


@pytest.fixture
def transport() -> Iterator[MemoryTransport]:
    made = MemoryTransport()
    made.start()
    made.declare(topology.topology(["default", "media"])).result(1)
    yield made
    made.stop()


@pytest.fixture
def relay(engine: Engine, transport: MemoryTransport) -> Iterator[Relay]:
    made = Relay(engine, Producer(transport=transport, timeout_seconds=0.5), poll_seconds=0.01)
    yield made
    made.stop()


def ctx(job: str = "j1", attempt: int = 1, round_: int = 0) -> Context:
    return Context(job_id=job, task="t", attempt=attempt, round=round_)


def test_an_effect_is_to_be_made_once_for_each_job_and_step(engine: Engine) -> None:
    with engine.begin() as connection:
        asked = [once(connection, one, step) for one in (ctx(), ctx("j2"), "j3") for step in ("", "mail", "mail")]

    assert asked == [True, True, False] * 3
    with engine.connect() as connection:
        assert connection.execute(select(effects.c.attempt).where(effects.c.job == "j1")).scalars().all() == [1, 1]
    with engine.begin() as connection:
        assert not once(connection, ctx(attempt=7, round_=3))


def test_an_effect_that_is_rolled_back_is_to_be_made_again(engine: Engine) -> None:
    with engine.connect() as connection:
        assert once(connection, ctx())
        connection.rollback()

    with engine.begin() as connection:
        assert once(connection, ctx())


def test_a_session_hands_over_its_connection(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        assert once(session.connection(), ctx())
        assert not once(session.connection(), ctx())


def test_a_later_run_shuts_earlier_ones_out(engine: Engine) -> None:
    runs = [ctx(attempt=1), ctx(attempt=2), ctx(attempt=2), ctx(attempt=1), ctx(attempt=1, round_=1), ctx(attempt=9)]

    passed = []
    for run in runs:
        with engine.begin() as connection:
            passed.append(fence(connection, run))

    assert passed == [True, True, True, False, True, False]
    with engine.connect() as connection:
        assert [tuple(row)[1:3] for row in connection.execute(select(fences))] == [(1, 1)]


def test_old_records_are_forgotten_when_asked(engine: Engine) -> None:
    with engine.begin() as connection:
        once(connection, ctx())
        fence(connection, ctx())
        assert forget(connection, 60) == 0
        assert forget(connection, -1) == 2
        assert once(connection, ctx())


def test_another_database_is_refused_in_plain_words(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine.begin() as connection:
        monkeypatch.setattr(connection.dialect, "name", "mysql")

        with pytest.raises(UnsupportedDatabase, match="PostgreSQL and SQLite; this is mysql"):
            once(connection, ctx())


def test_a_job_leaves_the_outbox_for_its_queue(engine: Engine, relay: Relay, transport: MemoryTransport) -> None:
    with engine.begin() as connection:
        job = enqueue(
            connection, thumbnail, {"path": "a.png"}, priority=3, timeout=1.5, max_attempts=2, expires_in=60,
            tenant="acme",
        )  # fmt: skip

    assert relay.run_once() == 1

    (message,) = transport.messages(queue_name("media"))
    sent = decode(message)
    assert (sent.id, sent.task, sent.queue, sent.body) == (job, "thumbnail", "media", b'{"path":"a.png"}')
    assert (sent.priority, sent.timeout_seconds, sent.max_attempts, sent.tenant) == (3, 1.5, 2, "acme")
    assert sent.expires_ms == sent.enqueued_ms + 60_000
    assert left(engine) == []
    assert relay.run_once() == 0


def test_a_job_of_a_transaction_that_is_rolled_back_is_never_sent(engine: Engine, relay: Relay) -> None:
    with engine.connect() as connection:
        enqueue(connection, "greet")
        connection.rollback()

    assert relay.run_once() == 0


def test_arguments_and_options_are_checked_before_anything_is_written(engine: Engine) -> None:
    with engine.begin() as connection:
        for arguments, options in (
            ({"path": 1}, {}), ({"path": "a"}, {"priority": 10}), ({"path": "a"}, {"idempotency_key": "a b"}),
        ):  # fmt: skip
            with pytest.raises(InvalidArguments):
                enqueue(connection, "thumbnail", arguments, registry=registry, **options)  # type: ignore[arg-type]

    assert left(engine) == []


def test_a_key_gives_the_job_its_id(engine: Engine) -> None:
    with engine.begin() as connection:
        assert enqueue(connection, "greet", idempotency_key="k", tenant="acme") == job_id_for_key("acme", "k")


def test_a_delay_counts_from_the_enqueue_not_from_the_relay(
    engine: Engine, relay: Relay, transport: MemoryTransport
) -> None:
    with engine.begin() as connection:
        enqueue(connection, "greet", {"n": 1}, delay=90)
        enqueue(connection, "greet", {"n": 2}, run_at=datetime.now(UTC) + timedelta(seconds=10))
        late = enqueue(connection, "greet", {"n": 3}, delay=5)
        connection.execute(outbox.update().where(outbox.c.job == late).values(due_ms=1))
    assert relay.run_once() == 3

    assert bodies(transport) == [3]
    transport.advance(11)
    assert bodies(transport) == [3, 2]
    transport.advance(80)
    assert bodies(transport) == [3, 2, 1]


def test_jobs_are_sent_in_order_in_batches(engine: Engine, transport: MemoryTransport) -> None:
    relay = Relay(engine, Producer(transport=transport), batch=4)
    with engine.begin() as connection:
        for number in range(10):
            enqueue(connection, "greet", {"n": number})

    assert [relay.run_once() for _ in range(4)] == [4, 4, 2, 0]
    assert bodies(transport) == list(range(10))


def test_a_broker_that_is_away_leaves_the_jobs_where_they_are(
    engine: Engine, relay: Relay, transport: MemoryTransport
) -> None:
    with engine.begin() as connection:
        enqueue(connection, "greet", {"n": 1})
        enqueue(connection, "greet", {"n": 2})
    transport.disconnect()

    with pytest.raises(Unavailable):
        relay.run_once()

    transport.reconnect()
    eventually(lambda: transport.status.connected)
    assert relay.run_once() == 2
    assert bodies(transport) == [1, 2]


def test_a_job_without_a_queue_rests_and_holds_up_no_other(
    engine: Engine, relay: Relay, transport: MemoryTransport
) -> None:
    with engine.begin() as connection:
        lost = enqueue(connection, "greet", {"n": 1}, queue="nowhere")
        enqueue(connection, "greet", {"n": 2})

    assert relay.run_once() == 1
    assert relay.run_once() == 0

    (row,) = left(engine)
    assert (row.job, row.tries, row.lease) == (lost, 1, None)
    assert row.error.startswith("Unroutable: ")
    assert 0 < row.leased_ms - datetime.now(UTC).timestamp() * 1000 <= 1000
    transport.declare(topology.topology(["nowhere"])).result(1)
    assert eventually(relay.run_once) == 1


def test_jobs_of_a_relay_that_died_are_sent_by_another_under_the_same_ids(
    engine: Engine, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(transport=transport)
    with engine.begin() as connection:
        job = enqueue(connection, "greet", {"n": 1})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    dying = Relay(engine, producer, lease_seconds=0.3)
    with monkeypatch.context() as patch:
        patch.setattr("warren.sql.relay._settle", die)
        with pytest.raises(KeyboardInterrupt):
            dying.run_once()
    other = Relay(engine, producer)

    assert other.run_once() == 0
    assert eventually(other.run_once) == 1
    assert [message.message_id for message in transport.messages(queue_name("default"))] == [job, job]


def test_many_relays_at_once_send_each_job_once(engine: Engine, transport: MemoryTransport) -> None:
    with engine.begin() as connection:
        for number in range(200):
            enqueue(connection, "greet", {"n": number})
    relays = [Relay(engine, Producer(transport=transport), batch=7, poll_seconds=0.01) for _ in range(4)]

    for relay in relays:
        relay.start()
        relay.start()
    eventually(lambda: left(engine) == [], 30)
    for relay in relays:
        relay.stop()
        relay.stop()

    assert sorted(bodies(transport)) == list(range(200))
    assert not any(relay.running for relay in relays)


def test_a_running_relay_says_what_is_wrong_and_goes_on_when_it_is_right(
    engine: Engine, relay: Relay, transport: MemoryTransport
) -> None:
    transport.block()
    with engine.begin() as connection:
        enqueue(connection, "greet", {"n": 1})

    relay.start()

    eventually(lambda: (relay.trouble or "").startswith("Blocked: "))
    transport.unblock()
    eventually(lambda: bodies(transport) == [1])
    eventually(lambda: relay.trouble is None)


def test_a_database_that_is_away_does_not_end_the_relay(
    engine: Engine, transport: MemoryTransport, tmp_path: Path
) -> None:
    nowhere = create_engine(f"sqlite:///{tmp_path}/no/such.db")
    relay = Relay(nowhere, Producer(transport=transport), poll_seconds=0.01)
    with pytest.raises(OperationalError):
        relay.run_once()

    relay.start()

    eventually(lambda: (relay.trouble or "").startswith("OperationalError: "))
    assert relay.running
    relay.stop()


def test_publishing_tells_of_each_job(transport: MemoryTransport) -> None:
    producer = Producer(transport=transport, timeout_seconds=0.2)
    jobs = [(Envelope(id=new_job_id(), task="greet", queue=queue), 0) for queue in ("default", "nowhere", "default")]

    outcomes = producer.publish(jobs)

    assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType", "Unroutable", "NoneType"]
    transport.block()
    assert [type(outcome).__name__ for outcome in producer.publish(jobs)] == ["Blocked"] * 3


def test_the_program_needs_a_database(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "WARREN_OUTBOX_URL is not set" in capsys.readouterr().err
    assert main(["--database-url", "mysql://x"]) == 2
    assert "WARREN_OUTBOX_URL is (secret): must begin with postgresql:// or sqlite://" in capsys.readouterr().err


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="must begin with"):
        load(OutboxSettings, url="nonsense")


def test_a_password_comes_from_its_file_at_each_connect(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    settings = load(OutboxSettings, url="postgresql://me@127.0.0.1:1/x", password_file=file)
    engine = open_engine(settings)
    given: dict[str, Any] = {}

    (listener,) = engine.dialect.dispatch.do_connect
    listener(engine.dialect, None, [], given)
    assert (engine.url.drivername, given["password"]) == ("postgresql+psycopg", "first")
    file.unlink()
    with pytest.raises(SettingsError, match="WARREN_OUTBOX_PASSWORD_FILE cannot be read"):
        listener(engine.dialect, None, [], given)


def test_the_package_imports_no_sqlalchemy_before_its_part_is_asked_for() -> None:
    program = "import sys, warren, warren.producer, warren.client; print('sqlalchemy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def left(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(outbox).order_by(outbox.c.position)).all())


def bodies(transport: MemoryTransport) -> list[int]:
    return [json.loads(message.body)["n"] for message in transport.messages(queue_name("default"))]
