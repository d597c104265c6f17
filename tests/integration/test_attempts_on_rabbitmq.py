"""What counts as an attempt, on a real RabbitMQ with workers that die and drain."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from waiting import eventually
from warren.envelope import decode
from warren.events import State
from warren.settings import BrokerSettings
from worker_processes import Stage, stage_on, terminate

INNOCENTS = 200


@pytest.fixture
def stage(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stage]:
    with stage_on(tmp_path, amqp) as made:
        yield made


@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_a_poison_job_runs_at_most_once_more_than_its_attempts_and_its_neighbours_succeed(
    stage: Stage, tmp_path: Path, how: str
) -> None:
    poison_runs, history = tmp_path / "poison", tmp_path / "history"
    poison = ""
    innocents = []
    for number in range(INNOCENTS):
        if number == 10:
            poison = stage.submit("check.poison", {"path": str(poison_runs), "how": how})
        arguments = {"path": str(history), "line": str(number), "seconds": 0.05}
        innocents.append(stage.submit("check.log", arguments, max_attempts=3))

    with restarted(stage, WARREN_WORKER_CONCURRENCY="10", WARREN_WORKER_PREFETCH="20"):
        eventually(lambda: len(finished(stage, innocents)) + len(stage.dead) > INNOCENTS, 90)

    runs = poison_runs.read_text().count("poison")
    letters = Counter((decode(letter).id, letter.headers["warren-dead-outcome"]) for letter in stage.dead)
    print(f"\n{how}: poison ran {runs} times, {len(finished(stage, innocents))} of {INNOCENTS} succeeded, {letters}")
    assert letters == {(poison, "lost"): 1}
    assert finished(stage, innocents) == set(innocents)
    assert runs <= 4


@pytest.mark.parametrize("kind", ["thread", "asyncio", "process"])
def test_a_drained_job_goes_on_at_its_step_at_another_worker_and_keeps_its_only_attempt(
    stage: Stage, tmp_path: Path, kind: str
) -> None:
    history = tmp_path / "history"
    first = stage.start_worker(WARREN_DRAIN_SECONDS="0.5")
    job = stage.submit(f"check.steps_{kind}", {"path": str(history), "last": 6})
    eventually(lambda: history.exists() and "step 2" in history.read_text(), 30)

    status = terminate(first)
    stage.start_worker()
    done = stage.event(job, State.SUCCEEDED)

    assert status == 0
    assert history.read_text().split("\n") == [*(f"step {step}" for step in range(6)), ""]
    assert done.result == "[2,0]"
    assert stage.event(job, State.RETRYING).outcome == "given-back"
    assert not stage.dead


def test_a_job_that_does_not_listen_is_killed_by_the_drain_and_goes_on_from_its_checkpoint(
    stage: Stage, tmp_path: Path
) -> None:
    history = tmp_path / "history"
    first = stage.start_worker(WARREN_DRAIN_SECONDS="0.2")
    job = stage.submit("check.stubborn", {"path": str(history)})
    eventually(history.exists, 30)

    terminate(first)
    stage.start_worker()

    assert stage.event(job, State.SUCCEEDED).result == '"saved"'
    assert history.read_text() == "started\n"


def test_jobs_that_drains_only_gave_back_are_not_charged_whatever_the_broker_counts(
    stage: Stage, tmp_path: Path
) -> None:
    history = tmp_path / "history"
    holding = stage.submit("check.log", {"path": str(history), "line": "hold", "seconds": 3}, max_attempts=1)
    waiting = [stage.submit("check.add", {"left": 1, "right": n}, max_attempts=1) for n in range(5)]
    for _ in range(3):
        worker = stage.start_worker(WARREN_WORKER_CONCURRENCY="1", WARREN_WORKER_PREFETCH="6", WARREN_DRAIN_SECONDS="0")
        worker.wait_ready()
        eventually(lambda: stage.ready() == 0, 10)
        terminate(worker)
    stage.start_worker()

    for job in [holding, *waiting]:
        stage.event(job, State.SUCCEEDED)
    assert not stage.dead


def finished(stage: Stage, jobs: list[str]) -> set[str]:
    return {job for job in jobs if any(event.state is State.SUCCEEDED for event in stage.events(job))}


@contextmanager
def restarted(stage: Stage, **environment: str) -> Iterator[None]:
    """Keep one worker running: whenever it dies, another starts, as a Deployment does."""
    stopping = threading.Event()

    def supervise() -> None:
        while not stopping.is_set():
            stage.start_worker(**environment).process.wait()

    supervisor = threading.Thread(target=supervise, daemon=True)
    supervisor.start()
    yield
    stopping.set()
    stage.workers[-1].kill()
    supervisor.join(10)
