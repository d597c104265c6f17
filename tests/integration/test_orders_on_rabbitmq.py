"""Orders obeyed by real workers: cancels, pauses and limits across processes and their deaths."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually
from warren.control import CancelJobs, CancelMatching, Drain, Limits, Pause, Resume, Undrain
from warren.events import State
from warren.settings import BrokerSettings
from worker_processes import Stage, stage_on, terminate

Line = tuple[str, float, int, str]


@pytest.fixture
def stage(tmp_path: Path, amqp: BrokerSettings) -> Iterator[Stage]:
    with stage_on(tmp_path, amqp) as made:
        yield made


def read(history: Path) -> list[Line]:
    """Return what tasks wrote, by time: start or end, when, in which process, which job."""
    if not history.exists():
        return []
    lines = [line.split() for line in history.read_text().splitlines()]
    return sorted(((word, float(at), int(pid), job) for word, at, pid, job, *_ in lines), key=lambda line: line[1])


def spans(lines: list[Line], killed: dict[int, float] | None = None) -> list[tuple[float, float]]:
    """Return when each run began and ended; those of a killed process ended with it."""
    began: dict[tuple[int, str], float] = {}
    found: list[tuple[float, float]] = []
    for word, at, pid, job in lines:
        if word == "start":
            began[pid, job] = at
        else:
            found.append((began.pop((pid, job)), at))
    return found + [(at, (killed or {})[pid]) for (pid, _), at in began.items()]


def most_at_once(runs: list[tuple[float, float]], since: float = 0.0) -> int:
    """Return how many runs were under way at once, at most, when one of them began."""
    return max(sum(first <= begin < last for first, last in runs) for begin, _ in runs if begin >= since)


def ends(stage: Stage, job: str) -> list[State]:
    return [event.state for event in stage.events(job) if event.state.final]


def test_jobs_cancelled_with_no_worker_running_end_cancelled_when_one_comes(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    jobs = [stage.submit("check.note", {"path": str(history)}) for _ in range(20)]
    kept = stage.submit("check.add", {"left": 1, "right": 1})
    stage.order(CancelJobs(jobs=tuple(jobs)))

    stage.start_worker()
    stage.event(kept, State.SUCCEEDED)
    for job in jobs:
        stage.event(job, State.CANCELLED)

    assert not history.exists()
    assert [ends(stage, job) for job in jobs] == [[State.CANCELLED]] * 20
    eventually(lambda: stage.ready() == 0)
    assert not stage.dead


@pytest.mark.parametrize("task", ["check.listens", "check.awaits", "child.spin_long"])
def test_a_running_job_is_stopped_within_a_second(stage: Stage, tmp_path: Path, task: str) -> None:
    history = tmp_path / "history"
    worker = stage.start_worker()
    job = stage.submit(task, {"path": str(history)})
    eventually(history.exists, 30)
    began = time.monotonic()
    stage.order(CancelJobs(jobs=(job,)))
    stage.event(job, State.CANCELLED)
    took = time.monotonic() - began

    following = stage.submit("child.add", {"left": 1, "right": 1})
    stage.event(following, State.SUCCEEDED)
    assert took < 1
    assert ends(stage, job) == [State.CANCELLED]
    assert not stage.dead
    assert worker.process.poll() is None
    eventually(lambda: stage.ready() == 0)


def test_a_cancel_survives_the_workers_that_heard_it(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    first = stage.start_worker()
    job = stage.submit("check.note", {"path": str(history)}, attempt=1)
    stage.event(job, State.SUCCEEDED)
    delayed = stage.submit_later("check.note", 5, {"path": str(history)})
    stage.order(CancelMatching(before_ms=int(time.time() * 1000), task="check.note"))
    first.signal(signal.SIGKILL)
    first.wait()

    second = stage.start_worker()
    stage.event(delayed, State.CANCELLED)

    assert terminate(second) == 0
    assert len(read(history)) == 2


def test_a_job_that_waits_for_its_retry_is_cancelled_when_it_is_due(stage: Stage) -> None:
    stage.start_worker()
    job = stage.submit("check.again_in", {"seconds": 3})
    stage.event(job, State.RETRYING)
    stage.order(CancelJobs(jobs=(job,)))

    told = stage.event(job, State.CANCELLED)
    assert (told.attempt, told.started_ms) == (2, None)
    assert len([event for event in stage.events(job) if event.state is State.RETRYING]) == 1
    assert not stage.dead


def test_three_tokens_let_no_more_than_three_jobs_run_on_three_workers_of_which_one_is_killed(
    stage: Stage, tmp_path: Path
) -> None:
    history = tmp_path / "history"
    stage.limit(concurrency=3)
    workers = [stage.start_worker(WARREN_WORKER_CONCURRENCY="4") for _ in range(3)]
    for worker in workers:
        worker.wait_ready()
    jobs = [stage.submit("check.note", {"path": str(history), "seconds": 0.3}) for _ in range(30)]

    eventually(lambda: len({pid for _, _, pid, _ in read(history)}) == 3, 60)
    victim = eventually(lambda: busy_process(read(history)), 30)
    # Before it: the broker hands its token on as soon as it is dead, which may be before `kill` returns.
    killed = time.monotonic()
    next(worker for worker in workers if worker.process.pid == victim).kill()
    for job in jobs:
        stage.event(job, State.SUCCEEDED, 60)

    runs = spans(read(history), {victim: killed})
    assert most_at_once(runs) == 3
    # All three are used again after the death: the dead worker's came back.
    assert most_at_once(runs, since=killed) == 3
    eventually(lambda: stage.tokens("slots") == 3)


def busy_process(lines: list[Line]) -> int | None:
    """Return a process that runs a job now."""
    ended = {job for word, _, _, job in lines if word == "end"}
    return next((pid for word, _, pid, job in reversed(lines) if word == "start" and job not in ended), None)


def test_ten_starts_in_two_seconds_are_never_exceeded_by_three_workers(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    stage.limit(rate_count=10, rate_seconds=2)
    for _ in range(3):
        stage.start_worker()
    jobs = [stage.submit("check.note", {"path": str(history)}) for _ in range(40)]
    for job in jobs:
        stage.event(job, State.SUCCEEDED, 60)

    told = sorted(event.started_ms or 0 for job in jobs for event in stage.events(job) if event.state.final)
    windows = [later - first for first, later in zip(told, told[10:], strict=False)]
    assert min(windows) >= 2000
    # And not much slower than allowed: 40 starts take three windows after the first.
    assert told[-1] - told[0] < 10_000
    eventually(lambda: stage.tokens("rate") == 10)


def test_a_lowered_limit_holds_once_the_jobs_of_the_old_one_are_done(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    stage.limit(concurrency=6)
    for _ in range(2):
        stage.start_worker()
    first = [stage.submit("check.note", {"path": str(history), "seconds": 0.1}) for _ in range(12)]
    for job in first:
        stage.event(job, State.SUCCEEDED)
    before = most_at_once(spans(read(history)))
    stage.limit(concurrency=2, generation=2)
    second = [stage.submit("check.note", {"path": str(history), "seconds": 0.1}) for _ in range(12)]
    for job in second:
        stage.event(job, State.SUCCEEDED)

    assert 2 < before <= 6
    assert most_at_once(spans([line for line in read(history) if line[3] in second])) == 2
    eventually(lambda: stage.tokens("slots") == 2)


def test_a_paused_queue_rests_on_all_workers_also_on_new_ones_until_it_is_resumed(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    first = stage.start_worker()
    runs = stage.submit("check.note", {"path": str(history), "seconds": 1})
    eventually(history.exists, 30)
    stage.order(Pause(queue="default"))
    second = stage.start_worker()
    second.wait_ready()
    stage.event(runs, State.SUCCEEDED)
    eventually(lambda: stage.transport.depth("warren.q.default").result(5).consumers == 0)
    waits = stage.submit("check.add", {"left": 1, "right": 1})

    assert stage.ready() == 1
    assert first.get("/readyz") == second.get("/readyz") == 200
    stage.order(Resume(queue="default"))
    stage.event(waits, State.SUCCEEDED)


def test_a_worker_told_to_drain_finishes_says_so_and_goes_on_when_told(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    worker = stage.start_worker(WARREN_WORKER_NAME="pod-1", WARREN_WORKER_CONCURRENCY="1")
    runs = stage.submit("check.note", {"path": str(history), "seconds": 4})
    eventually(history.exists, 30)
    waits = stage.submit("check.add", {"left": 1, "right": 1})
    stage.order(Drain(workers=("pod-1",)))
    eventually(lambda: stage.ready() == 1)

    assert worker.get("/readyz") == 200
    stage.event(runs, State.SUCCEEDED)
    eventually(lambda: worker.get("/readyz") == 503)
    eventually(lambda: '"event": "drained"' in worker.log or '"event":"drained"' in worker.log)
    assert stage.ready() == 1
    assert worker.process.poll() is None

    stage.order(Undrain(workers=("pod-1",)))
    stage.event(waits, State.SUCCEEDED)
    eventually(lambda: worker.get("/readyz") == 200)
    assert terminate(worker) == 0


def test_jobs_of_the_queue_with_the_higher_priority_start_first(stage: Stage, tmp_path: Path) -> None:
    history = tmp_path / "history"
    stage.declare("critical")
    blocker = stage.submit("check.log", {"path": str(tmp_path / "blocker"), "line": "", "seconds": 3})
    worker = stage.start_worker(WARREN_WORKER_QUEUES="critical,default=5", WARREN_WORKER_CONCURRENCY="1")
    eventually((tmp_path / "blocker").exists, 30)
    stage.order(Limits(queue="critical", priority=10, generation=1))
    later = [stage.submit("check.note", {"path": str(history)}) for _ in range(2)]
    sooner = [stage.submit("check.note", {"path": str(history)}, queue="critical") for _ in range(2)]
    # The broker's worker holds all of them while the first job runs.
    eventually(lambda: stage.ready() == 0)
    for job in (blocker, *later[:1]):
        stage.event(job, State.SUCCEEDED)

    assert [job for word, _, _, job in read(history) if word == "start"][:3] == [*sooner, later[0]]
    assert worker.process.poll() is None
