"""One key, many requests: real server processes on a real broker, SQLite and PostgreSQL."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from postgres import PrivatePostgres
from processes import Stack, free_port
from waiting import eventually
from warren.amqp import connect
from warren.client import Client
from warren.events import Event, State
from warren.settings import BrokerSettings
from warren.topology import queue_name
from warren_server.settings import StoreSettings
from warren_server.store.engine import Database
from warren_server.store.idempotency import Answered, Busy, Claim, KeyName, KeyStore, Reused, Use
from warren_server.store.jobs import JobStore

SHORT = {
    "WARREN_SERVER_PUBLISH_WAIT_SECONDS": "0.5",
    "WARREN_SERVER_CONFIRM_SECONDS": "1",
    "WARREN_STORE_WAIT_SECONDS": "0.5",
}
"""Limits that make a key's lock end after four seconds."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(free_port())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, amqp: BrokerSettings, tmp_path: Path) -> Iterator[Stack]:
    environment = {"WARREN_SERVER_PROCESSES": "3"}
    if request.param == "postgresql":
        environment["WARREN_STORE_URL"] = new_database(request.getfixturevalue("postgres"))
    made = Stack(folder=tmp_path, broker=amqp, tasks="fault_tasks", environment=environment)
    yield made
    made.stop()


def new_database(postgres: PrivatePostgres) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres.url.rpartition("/")[0] + f"/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/keys.db"
    if request.param == "postgresql":
        url = new_database(request.getfixturevalue("postgres"))
    made = Database(StoreSettings.model_validate({"url": url}))
    yield made
    made.close()


def use(key: str = "k", fingerprint: str = "f", now_ms: int = 1_000, lives_ms: int = 60_000) -> Use:
    name = KeyName(tenant="", endpoint="jobs", key=key)
    return Use(name=name, fingerprint=fingerprint, now_ms=now_ms, locked_ms=now_ms + 100, expires_ms=now_ms + lives_ms)


def ids(generation: int) -> list[str]:
    return [f"job-{generation}"]


def test_of_many_that_want_a_key_at_once_one_gets_it(database: Database) -> None:
    keys = KeyStore(database)
    database.migrate()

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: keys.claim(use(), ids), range(64)))

    assert Counter(type(one) for one in found) == {Claim: 1, Busy: 63}


def test_a_key_goes_through_its_life(database: Database) -> None:
    keys = KeyStore(database)

    first = keys.claim(use(), ids)
    assert isinstance(first, Claim)
    assert (first.fresh, first.ids) == (True, ["job-0"])
    keys.release(first)
    again = keys.claim(use(now_ms=1_001), ids)
    assert isinstance(again, Claim)
    keys.unlock(again)
    assert keys.claim(use(fingerprint="other", now_ms=1_002), ids) == Reused()
    third = keys.claim(use(now_ms=1_002), ids)
    assert isinstance(third, Claim)
    assert (third.fresh, third.created_ms, third.ids) == (False, 1_001, ["job-0"])
    keys.answer(third, 202, "{}")
    assert keys.claim(use(now_ms=1_003), ids) == Answered(status=202, body="{}")
    anew = keys.claim(use(fingerprint="other", now_ms=70_000), ids)
    assert isinstance(anew, Claim)
    assert (anew.fresh, anew.created_ms, anew.ids) == (True, 70_000, ["job-70000"])
    assert keys.expire(69_000, 10) == 0
    assert keys.expire(140_000, 10) == 1


def test_a_young_job_of_a_key_without_a_row_is_found_and_an_old_one_makes_way(database: Database) -> None:
    event = Event(job="job-0", state=State.QUEUED, attempt=0, at_ms=900, task="t", queue="q", enqueued_ms=900)
    JobStore(database).record([event])
    keys = KeyStore(database)

    young, old = keys.claim(use(), ids), keys.claim(use("other", lives_ms=50), ids)

    assert isinstance(young, Claim)
    assert isinstance(old, Claim)
    assert (young.fresh, list(young.known)) == (False, ["job-0"])
    assert (old.fresh, old.ids, old.known) == (True, ["job-1000"], {})


def job(folder: Path) -> dict[str, Any]:
    return {"task": "fault.record", "arguments": {"history": str(folder / "history"), "number": 1}}


def post(stack: Stack, key: str, path: str = "/v1/jobs") -> httpx.Response:
    headers = {"Idempotency-Key": f'"{key}"'}
    return httpx.post(f"{stack.url}{path}", json=job(stack.folder), headers=headers, timeout=30)


def messages(stack: Stack) -> int:
    transport = connect(stack.broker)
    transport.start()
    try:
        assert transport.wait_ready(10)
        return transport.depth(queue_name("faults")).result(10).ready
    finally:
        transport.stop()


def test_two_hundred_requests_at_once_with_one_key_are_one_job_and_one_message(stack: Stack) -> None:
    stack.start_server()

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: post(stack, "one"), range(200)))
    last = post(stack, "one")

    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {202, 409}, statuses
    first = [one for one in answers if one.status_code == 202 and "Idempotent-Replayed" not in one.headers]
    assert len(first) == 1
    assert {one.content for one in answers if one.status_code == 202} == {last.content}
    assert [found["id"] for found in httpx.get(f"{stack.url}/v1/jobs").json()["jobs"]] == [last.json()["id"]]
    assert eventually(lambda: messages(stack)) == 1


@pytest.mark.timeout(180)
def test_a_server_killed_between_publish_and_answer_costs_the_client_a_wait_and_makes_one_job(stack: Stack) -> None:
    start_killed_server(stack)
    kill_at_next_submit(stack)

    with Client(stack.url) as client:
        taken = client.submit(job(stack.folder)["task"], job(stack.folder)["arguments"])
        copies = eventually(lambda: messages(stack))
        stack.start_worker()
        done = client.wait(taken, timeout_seconds=60)

        # The worker that ran the first copy knows the second for what it is.
        eventually(lambda: messages(stack) == 0, 30)
        assert runs(stack) == [taken.id]
        assert done.succeeded
        assert [found.id for found in client.jobs().jobs] == [taken.id]
        assert copies == 2
        assert (
            client.submit(job(stack.folder)["task"], job(stack.folder)["arguments"], idempotency_key="fresh").id
            != taken.id
        )


@pytest.mark.timeout(180)
def test_a_job_that_ran_before_the_client_came_back_is_not_published_again(stack: Stack) -> None:
    start_killed_server(stack)
    stack.start_worker()

    with Client(stack.url) as client:
        warm = client.wait(client.submit("fault.record", {"history": "/dev/null", "number": 0}), timeout_seconds=60)
        kill_at_next_submit(stack)
        taken = client.submit(job(stack.folder)["task"], job(stack.folder)["arguments"])
        done = client.wait(taken, timeout_seconds=60)

        assert done.succeeded
        assert {found.id for found in client.jobs().jobs} == {warm.id, taken.id}
    assert messages(stack) == 0
    assert runs(stack) == [taken.id]


def start_killed_server(stack: Stack) -> None:
    """Start a server that can be killed between publish and answer."""
    stack.start_server("killed_server", **SHORT)


def kill_at_next_submit(stack: Stack) -> None:
    (stack.folder / "kill-1").touch()


def runs(stack: Stack) -> list[str]:
    history = stack.folder / "history"
    return [line.split()[0] for line in history.read_text().splitlines()] if history.exists() else []
