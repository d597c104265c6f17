"""Queues deleted under delayed jobs, and names at the limit, on a real broker with real workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from waiting import eventually
from warren.amqp.repair import repair
from warren.amqp.topology import prepare
from warren.envelope import Envelope, Message, decode, new_job_id
from warren.events import State
from warren.settings import BrokerSettings
from warren.topology import UNROUTABLE, queue_name
from warren.transport import Delivery, Publication, job_publication
from worker_processes import Stage, stage_on

LONGEST = "q" * 190


@pytest.fixture
def stage(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stage]:
    with stage_on(tmp_path, amqp) as made:
        yield made


def delete_queue(broker: BrokerSettings, queue: str) -> None:
    assert broker.url is not None
    assert broker.management_url is not None
    vhost = urlsplit(broker.url.get_secret_value()).path[1:]
    url = f"{broker.management_url.get_secret_value()}/api/queues/{vhost}/{quote(queue_name(queue))}"
    httpx.delete(url, trust_env=False).raise_for_status()


def depth(stage: Stage, queue: str) -> int:
    return stage.transport.depth(queue).result(10).ready


def command(stage: Stage, *words: str) -> list[str]:
    return [sys.executable, "-c", "from warren.cli import main; main(prog_name='warren')", *words]


def environment(stage: Stage) -> dict[str, str]:
    assert stage.broker.url is not None
    assert stage.broker.management_url is not None
    return {
        **os.environ,
        "WARREN_AMQP_URL": stage.broker.url.get_secret_value(),
        "WARREN_AMQP_MANAGEMENT_URL": stage.broker.management_url.get_secret_value(),
    }


def warren(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(stage, *words), env=environment(stage), capture_output=True, text=True, timeout=60, check=False
    )


def test_jobs_delayed_for_a_queue_that_was_deleted_come_back_by_repair_and_run(stage: Stage) -> None:
    prepare(stage.transport, stage.broker, ["gone"])
    jobs = [stage.submit_later("check.add", 2, {"left": number, "right": 1}, queue="gone") for number in range(20)]
    neighbour = stage.submit_later("check.add", 3, {"left": 1, "right": 1})
    delete_queue(stage.broker, "gone")

    # The jobs are not lost, and do not hold up those of other queues on the same levels of the ladder.
    eventually(lambda: depth(stage, UNROUTABLE) == len(jobs), 20)
    stage.start_worker(WARREN_WORKER_QUEUES="default")
    assert stage.event(neighbour, State.SUCCEEDED).result == "2"

    dry = warren(stage, "topology", "repair", "--dry-run", "--json")
    left = warren(stage, "topology", "repair", "--json")
    assert json.loads(dry.stdout)["missing"] == json.loads(left.stdout)["missing"] == {"gone": len(jobs)}, left.stderr
    assert depth(stage, UNROUTABLE) == len(jobs)

    moved = warren(stage, "topology", "repair", "--create", "--json")
    assert json.loads(moved.stdout)["moved"] == {"gone": len(jobs)}, moved.stderr
    stage.start_worker(WARREN_WORKER_QUEUES="gone")

    results = sorted(int(stage.event(job, State.SUCCEEDED).result or "") for job in jobs)
    assert results == list(range(1, len(jobs) + 1))
    assert depth(stage, UNROUTABLE) == 0
    assert not stage.dead


def test_a_message_that_is_no_job_ends_among_the_dead_letters(stage: Stage) -> None:
    stray = Message(body=b"\x80", headers={"deep": {"list": [1, None]}, "x-death": "forged"})
    stage.transport.publish(Publication(exchange=UNROUTABLE, routing_key="", message=stray)).result(10)

    done = repair(stage.transport)

    [letter] = eventually(lambda: stage.dead, 10)
    assert (done.dead, letter.body) == (1, b"\x80")
    assert "no job" in str(letter.headers["warren-dead-reason"])


def test_a_repair_killed_on_its_way_loses_no_job(stage: Stage) -> None:
    prepare(stage.transport, stage.broker, ["gone"])
    jobs = [Envelope(id=new_job_id(), task="check.add", queue="gone", body=b"{}") for _ in range(3000)]
    for confirm in [
        stage.transport.publish(
            Publication(exchange=UNROUTABLE, routing_key="", message=job_publication(job).message), wait_seconds=10
        )
        for job in jobs
    ]:
        confirm.result(30)

    process = subprocess.Popen(
        command(stage, "topology", "repair"),
        env=environment(stage),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: depth(stage, queue_name("gone")) > 0, 30, 0.001)
    process.kill()
    process.wait(10)
    moved = depth(stage, queue_name("gone"))
    # What the killed one held comes back when the broker sees that its connection is gone.
    eventually(lambda: depth(stage, UNROUTABLE) + depth(stage, queue_name("gone")) >= len(jobs), 20)
    done = repair(stage.transport)

    assert moved < len(jobs)
    assert done.found == done.moved["gone"]
    seen: list[str] = []

    def on_delivery(delivery: Delivery) -> None:
        seen.append(decode(delivery.message).id)
        delivery.ack()

    stage.transport.consume(queue_name("gone"), on_delivery, prefetch=200)
    eventually(lambda: set(seen) == {job.id for job in jobs} and depth(stage, queue_name("gone")) == 0, 30)
    assert len(seen) - len(jobs) <= 200, "duplicates are bounded by what was under way"


def test_a_job_of_the_longest_queue_name_is_delayed_and_retried_through_the_ladder(stage: Stage) -> None:
    stage.start_worker(WARREN_WORKER_QUEUES=LONGEST)
    prepare(stage.transport, stage.broker, [LONGEST])
    began = time.monotonic()
    job = stage.submit_later("check.fail_until", 3, {"attempt": 4}, queue=LONGEST)

    done = stage.event(job, State.SUCCEEDED, 60)

    assert (done.attempt, done.queue) == (4, LONGEST)
    assert time.monotonic() - began >= 3
    assert sorted(event.attempt for event in stage.events(job) if event.state is State.RETRYING) == [1, 2, 3]
    assert depth(stage, UNROUTABLE) == 0


def test_check_and_apply_tell_and_mend_what_is_missing(stage: Stage) -> None:
    before = warren(stage, "topology", "check", "--queue", "late", "--json")
    applied = warren(stage, "topology", "apply", "--queue", "late", "--json")
    after = warren(stage, "topology", "check", "--queue", "late", "--json")

    assert before.returncode == 1
    assert [line.split()[0] for line in json.loads(before.stdout)] == ["warren.q.late"]
    assert applied.returncode == 0, applied.stderr
    assert (after.returncode, json.loads(after.stdout)) == (0, [])
