"""Workers as users run them: processes on a real RabbitMQ."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from waiting import eventually
from warren.envelope import Message, decode
from warren.events import State
from warren.settings import BrokerSettings
from worker_processes import Stage, stage_on, terminate


@pytest.fixture
def stage(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stage]:
    with stage_on(tmp_path, amqp) as made:
        yield made


def test_jobs_of_every_isolation_succeed(stage: Stage) -> None:
    stage.start_worker()
    jobs = [
        stage.submit("check.add", {"left": 1, "right": 2}),
        stage.submit("check.async_sleep", {"seconds": 0.01}),
        stage.submit("child.async"),
    ]

    results = [stage.event(job, State.SUCCEEDED).result for job in jobs]

    assert results == ["3", '"slept"', '"async in a child"']
    assert not stage.dead


def test_a_failed_job_comes_back_through_the_real_ladder(stage: Stage) -> None:
    stage.start_worker()
    job = stage.submit("check.fail_until", {"attempt": 3})

    done = stage.event(job, State.SUCCEEDED)

    assert (done.attempt, done.result) == (3, "3")
    assert sorted(event.attempt for event in stage.events(job) if event.state is State.RETRYING) == [1, 2]


def test_a_job_out_of_attempts_reaches_the_dead_letters_with_its_story(stage: Stage) -> None:
    stage.start_worker(WARREN_WORKER_NAME="pod-7")
    job = stage.submit("check.always_fails")

    [letter] = eventually(lambda: stage.dead, 30)

    assert decode(letter).id == job
    assert letter.headers["warren-error-message"] == "never works"
    assert letter.headers["warren-dead-attempt"] == 3
    assert letter.headers["warren-worker"] == "pod-7"


def test_the_job_of_a_killed_worker_is_run_by_another(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    first = stage.start_worker()
    job = stage.submit("check.log", {"path": str(history), "line": "a", "seconds": 3})
    eventually(history.exists, 30)
    first.signal(signal.SIGKILL)
    stage.start_worker()

    done = stage.event(job, State.SUCCEEDED)

    assert (done.attempt, done.redelivered) == (2, True)
    assert history.read_text().split("\n") == ["start a", "start a", "end a", ""]


def test_a_drained_worker_finishes_its_job_gives_back_the_rest_and_loses_none(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    first = stage.start_worker(WARREN_WORKER_CONCURRENCY="2", WARREN_WORKER_PREFETCH="6")
    jobs = [
        stage.submit("check.log", {"path": str(history), "line": str(number), "seconds": 1}) for number in range(10)
    ]
    eventually(lambda: history.exists() and history.read_text().count("start") >= 2, 30)

    status = terminate(first)
    finished = history.read_text().count("end")
    stage.start_worker(WARREN_WORKER_CONCURRENCY="10")
    for job in jobs:
        stage.event(job, State.SUCCEEDED)

    assert status == 0
    assert finished == 2
    assert sorted(history.read_text().split("\n")) == sorted(
        ["", *(f"{word} {number}" for word in ("start", "end") for number in range(10))]
    )


def test_a_job_longer_than_the_drain_is_given_back_and_the_worker_leaves_in_time(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    first = stage.start_worker(WARREN_DRAIN_SECONDS="0.5")
    stage.submit("check.log", {"path": str(history), "line": "a", "seconds": 60})
    eventually(history.exists, 30)
    began = time.monotonic()

    status = terminate(first)

    assert status == 0
    assert time.monotonic() - began < 10
    eventually(lambda: stage.ready() == 1, 10)


def test_a_second_signal_ends_a_drain_at_once(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    worker = stage.start_worker()
    stage.submit("check.log", {"path": str(history), "line": "a", "seconds": 60})
    eventually(history.exists, 30)

    worker.signal(signal.SIGTERM)
    eventually(lambda: "draining" in worker.log, 10)
    worker.signal(signal.SIGTERM)

    assert worker.wait(5) == 128 + signal.SIGTERM


def test_a_job_whose_connection_the_broker_closed_is_recorded_and_the_worker_goes_on(
    stage: Stage, tmp_path: Path
) -> None:
    history = tmp_path / "history"
    worker = stage.start_worker(WARREN_WORKER_CONCURRENCY="1")
    job = stage.submit("check.log", {"path": str(history), "line": "a", "seconds": 8})
    eventually(history.exists, 30)

    _close_connections(stage.broker)
    recorded = stage.event(job, State.SUCCEEDED)
    following = stage.submit("check.add", {"left": 1, "right": 1})

    assert recorded.result == '"a"'
    assert stage.event(following, State.SUCCEEDED).result == "2"
    assert worker.process.poll() is None
    eventually(lambda: stage.ready() == 0, 10)
    assert not stage.dead


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(Message(body=b"\x80\x04\x95pickle", content_type="application/x-python-serialize"), id="pickle"),
        pytest.param(
            Message(body=b"x" * (2 * 1024 * 1024), content_type="application/json", headers={"warren-v": 1}), id="2 MiB"
        ),
        pytest.param(Message(body=b"{}"), id="no headers"),
        pytest.param(
            Message(
                body=b"{}",
                type="check.add",
                content_type="application/json",
                headers={
                    "warren-v": 1,
                    "warren-attempt": "one",
                    "deep": {"list": [1, {"a": None}]},
                    "big": "x" * 60_000,
                },
            ),
            id="wrong types",
        ),
    ],
)
def test_a_message_that_is_no_job_ends_among_the_dead_and_the_worker_lives(stage: Stage, message: Message) -> None:
    stage.start_worker()
    stage.put(message)

    [letter] = eventually(lambda: stage.dead, 30)
    job = stage.submit("check.add", {"left": 1, "right": 1})

    assert letter.body == message.body
    assert letter.headers["warren-dead-outcome"] == "undecodable"
    assert stage.event(job, State.SUCCEEDED).result == "2"


def test_a_large_checkpoint_and_a_long_traceback_fit_one_dead_letter(stage: Stage) -> None:
    stage.start_worker()
    stage.submit("check.heavy", {"size": 32 * 1024 - 10})

    [letter] = eventually(lambda: stage.dead, 30)

    assert len(str(letter.headers["warren-state"])) > 32_000
    assert "heavy" in str(letter.headers["warren-error-traceback"])


def test_probes_tell_ready_and_then_draining_while_the_worker_lives(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    worker = stage.start_worker()
    worker.wait_ready()
    stage.submit("check.log", {"path": str(history), "line": "a", "seconds": 3})
    eventually(history.exists, 30)

    worker.signal(signal.SIGTERM)

    eventually(lambda: worker.get("/readyz") == 503, 5)
    assert worker.get("/healthz") == 200
    assert worker.get("/metrics") == 200
    assert worker.wait() == 0


def _close_connections(broker: BrokerSettings) -> None:
    """Close the worker's and our own connections by the management API, once it shows all four."""
    assert broker.management_url is not None
    assert broker.url is not None
    vhost = broker.url.get_secret_value().rpartition("/")[2]
    with httpx.Client(base_url=broker.management_url.get_secret_value(), trust_env=False) as management:

        def find() -> list[str]:
            found = management.get(f"/api/vhosts/{vhost}/connections").json()
            return [connection["name"] for connection in found] if len(found) == 4 else []

        for name in eventually(find, 10):
            management.delete(f"/api/connections/{name}").raise_for_status()
