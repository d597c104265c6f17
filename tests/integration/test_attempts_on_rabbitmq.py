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
from worker_processes import Stage, stage_on

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
