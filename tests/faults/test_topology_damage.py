"""F13: what the broker must have is damaged under load. It is refused, or waits where all can see it; never silent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.checker import Bounds
from faults.load import MIX, Sort
from faults.stage import PREFETCH, Stage
from waiting import eventually
from warren.topology import DEAD, DUE, JOBS, UNROUTABLE, queue_name

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]
WORKERS = 2
QUEUE = queue_name("faults")
ASIDE = Sort(task="fault.aside", options={"delay": 5})


def unbind(stage: Stage) -> None:
    """Take a job queue's bindings away: submits have nowhere to go, and neither have jobs that come due."""
    for exchange in (JOBS, DUE):
        stage.management.unbind(stage.settings, exchange, QUEUE)


def fill(stage: Stage) -> None:
    """Let the last level of the ladder refuse what comes."""
    limit(stage, 1)


def limit(stage: Stage, jobs: int) -> None:
    """Limit the last level of the ladder to so many jobs.

    A limit is lifted by raising it: where its policy is deleted while it refuses, RabbitMQ 3.10 goes on refusing on
    the channels it refused on.
    """
    stage.management.set_policy(
        stage.settings,
        "full",
        {
            "pattern": r"^warren\.delay\.00$",
            "priority": 100,
            "apply-to": "queues",
            "definition": {
                "max-length": jobs,
                "overflow": "reject-publish",
                "message-ttl": 1000,
                "dead-letter-exchange": DUE,
                "dead-letter-strategy": "at-least-once",
            },
        },
    )


def remove(exchange: str) -> Callable[[Stage], None]:
    """Delete an exchange."""
    return lambda stage: stage.management.delete_exchange(stage.settings, exchange)


@pytest.fixture
def damaged(stage: Stage) -> Stage:
    stage.start_server()
    for _ in range(WORKERS):
        stage.start_worker(WARREN_WORKER_QUEUES="faults")
    return stage


def test_a_queue_deleted_under_delayed_jobs_costs_none_of_them(damaged: Stage) -> None:
    stage = damaged
    stage.submit(ASIDE, [f"aside-{number}" for number in range(200)])
    with stage.load():
        stage.fault("the queue of 200 delayed jobs is deleted")
        stage.management.delete_queue(stage.settings, queue_name("aside"))
        eventually(lambda: stage.management.depths(stage.settings)[UNROUTABLE] == 200, 60, 0.5)
        stage.submit(Sort(task="fault.aside"), ["aside-refused"])
        stage.wait_more_effects(200)
        stage.fault("repair")
        told = run_topology(stage, "repair", "--create")
        stage.start_worker(WARREN_WORKER_QUEUES="aside")
        stage.wait_more_effects(400)

    assert "200" in told
    assert [line.kind for line in stage.history.lines() if line.key == "aside-refused"] == ["sent", "refused"]
    stage.finish("F13 a queue is deleted under delayed jobs", bounds=Bounds())


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("a job queue loses its bindings", unbind),
        ("the dead letters lose their exchange", remove(DEAD)),
        ("a level of the ladder loses its exchange", remove("warren.delay.00")),
        ("a level of the ladder takes no more", fill),
    ],
    ids=["unbound", "dead-letters", "ladder", "full"],
)
def test_damage_is_seen_and_repaired(damaged: Stage, what: str, damage: Callable[[Stage], None]) -> None:
    stage = damaged
    with stage.load(mix=MIX):
        stage.wait_more_effects(200)
        stage.fault(what)
        damage(stage)
        sent = stage.history.count("sent")
        eventually(lambda: stage.history.count("sent") > sent + 1000, 60, 0.1)
        stage.fault("repair")
        if damage is fill:
            limit(stage, 10**6)
        run_topology(stage, "apply")
        run_topology(stage, "repair")
        accepted = stage.history.count("accepted")
        eventually(lambda: stage.history.count("accepted") > accepted + 400, 60, 0.1)
        stage.wait_more_effects(400)

    stage.finish(f"F13 {what}", bounds=Bounds(faults=2, in_flight=WORKERS * PREFETCH, crashes=2))


def run_topology(stage: Stage, *command: str) -> str:
    """Run `warren topology` as an operator does, and return what it prints."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("warren")), "topology", *command],
        env=stage.stack.variables(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
