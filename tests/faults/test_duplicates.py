"""F10: the broker delivers again what was delivered: connections are closed under running jobs, messages come twice."""

from __future__ import annotations

import itertools
import signal
import time

import pytest

from faults.checker import Bounds, redelivery_seconds
from faults.stage import PREFETCH, Stage, sizes
from waiting import eventually
from warren.amqp import connect
from warren.envelope import Envelope, encode, new_job_id
from warren.topology import JOBS
from warren.transport import Publication

pytestmark = pytest.mark.timeout(600)
TWICE = 50


@pytest.mark.parametrize("closings", sizes(1, 4))
def test_jobs_run_on_when_the_connection_of_their_worker_is_closed(stage: Stage, closings: int) -> None:
    stage.start_server()
    workers = [stage.start_worker(), stage.start_worker()]
    recoveries = []

    with stage.load():
        for number, worker in zip(range(closings), itertools.cycle(workers), strict=False):
            stage.wait_more_effects(150)
            stage.occupy(worker, f"held-{number}")
            closed_at = stage.fault("connections of a worker closed")
            closed = eventually(
                lambda worker=worker: stage.management.close_connections(stage.settings, worker.pid, "fault F10"),
                20,
                0.5,
            )
            assert closed == 2
            recoveries.append(works_again(stage, worker.pid, closed_at) - closed_at)
            stage.wait_more_effects(150)

    stage.finish(
        "F10 connections of a worker closed by an operator",
        bounds=Bounds(faults=closings, in_flight=PREFETCH, crashes=closings, recovery_seconds=10),
        recovery_seconds=max(recoveries),
        note=f"{closings} closings; recovery = that worker starts newly submitted jobs",
    )


@pytest.mark.full
def test_a_message_that_comes_twice_runs_at_most_twice_and_ends_once(stage: Stage) -> None:
    stage.start_server()
    stage.start_worker()
    stage.start_worker()

    with stage.load():
        stage.wait_more_effects(100)
        publish_twice(stage)
        stage.wait_more_effects(300)

    stage.finish(
        "F10 the same message published twice",
        bounds=Bounds(faults=TWICE, in_flight=1, crashes=2),
        note=f"{TWICE} messages twice",
    )


@pytest.mark.full
def test_a_worker_that_was_paused_for_longer_than_its_heartbeat_does_no_harm_when_it_wakes(stage: Stage) -> None:
    stage.start_server()
    stage.start_worker()
    sleeper = stage.start_worker(WARREN_AMQP_HEARTBEAT_SECONDS="5")

    with stage.load():
        stage.wait_more_effects(150)
        stage.occupy(sleeper, "held")
        paused_at = stage.fault("a worker pauses")
        sleeper.send_signal(signal.SIGSTOP)
        redelivered = eventually(lambda: all_started_again(stage, sleeper.pid, paused_at), 60, 0.5)
        sleeper.send_signal(signal.SIGCONT)
        works_again(stage, sleeper.pid, time.monotonic())

    stage.finish(
        "F7 a worker pauses (SIGSTOP) and wakes",
        bounds=Bounds(faults=1, in_flight=PREFETCH, crashes=1, recovery_seconds=20),
        recovery_seconds=redelivered,
        note="recovery = redelivery of the slowest job; heartbeat 5 s",
    )


def publish_twice(stage: Stage) -> None:
    """Publish jobs past the server, each message two times."""
    transport = connect(stage.settings)
    transport.start()
    assert transport.wait_ready(20)
    for number in range(TWICE):
        key = f"twice-{number}"
        job = new_job_id()
        message = encode(
            Envelope(
                id=job,
                task="fault.sleeping",
                queue="faults",
                body=f'{{"key":"{key}","seconds":0.1}}'.encode(),
                enqueued_ms=time.time_ns() // 1_000_000,
            )
        )
        stage.history.add("sent", key, expect="succeeded")
        for _ in range(2):
            transport.publish(Publication(exchange=JOBS, routing_key="faults", message=message), wait_seconds=5).result(
                9
            )
        stage.history.add("accepted", key, job)
    transport.stop()


def works_again(stage: Stage, pid: int, after: float) -> float:
    """Wait until a process starts a job submitted after a time, so one that came over its new connection; say when."""
    return eventually(lambda: _first_new_start(stage, pid, after), 60, 0.1)


def _first_new_start(stage: Stage, pid: int, after: float) -> float:
    new: set[str] = set()
    for line in stage.history.lines():
        if line.kind == "sent" and line.at > after and not line.data.get("delay"):
            new.add(line.key)
        elif line.kind == "start" and line.key in new and line.data["pid"] == pid:
            return line.at
    return 0.0


def all_started_again(stage: Stage, pid: int, after: float) -> float:
    """Return how long the jobs of a process took to start elsewhere, 0 while they have not all."""
    seconds = redelivery_seconds(stage.history.lines(), pid, after)
    assert seconds is not None, "the process ran nothing"
    return seconds if seconds < float("inf") else 0.0
