"""Where tasks run, and how their time ends: threads, the event loop, child processes."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from waiting import eventually
from warren import Context, Retry
from warren.envelope import decode
from warren.events import State
from warren.task import Registry, default_registry, task
from worker_harness import Bench, running

TASKS_FOLDER = Path(__file__).parents[1] / "integration"
ONCE = Retry(max_attempts=1)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A worker whose tasks can be imported by child processes."""
    monkeypatch.syspath_prepend(str(TASKS_FOLDER))
    monkeypatch.setenv("PYTHONPATH", str(TASKS_FOLDER))
    importlib.import_module("tasks_for_tests")
    with running(default_registry, modules="tasks_for_tests", queues="default") as made:
        yield made


def test_a_def_runs_on_a_thread_that_is_used_again(registry: Registry) -> None:
    @task(name="where", registry=registry)
    def where() -> str:
        return threading.current_thread().name

    with running(registry) as bench:
        names = [bench.event(bench.submit("where"), State.SUCCEEDED).result for _ in range(3)]

        assert names == ['"warren-task-1"'] * 3


def test_async_tasks_share_one_loop_and_run_at_once(registry: Registry) -> None:
    meeting: list[asyncio.Event] = []

    @task(name="meet", registry=registry)
    async def meet() -> str:
        meeting.append(asyncio.Event())
        while len(meeting) < 5:  # noqa: ASYNC110 - five coroutines must be here at a time
            await asyncio.sleep(0.01)
        return threading.current_thread().name

    with running(registry) as bench:
        jobs = [bench.submit("meet") for _ in range(5)]

        assert {bench.event(job, State.SUCCEEDED).result for job in jobs} == {'"warren-asyncio"'}


def test_no_more_attempts_run_at_once_than_there_are_slots(registry: Registry) -> None:
    running_now = threading.Semaphore(2)
    broken: list[bool] = []

    @task(name="count", registry=registry)
    def count() -> None:
        broken.append(not running_now.acquire(blocking=False))
        time.sleep(0.02)
        running_now.release()

    @task(name="count_async", registry=registry)
    async def count_async() -> None:
        broken.append(not running_now.acquire(blocking=False))
        await asyncio.sleep(0.02)
        running_now.release()

    with running(registry, concurrency=2, prefetch=10) as bench:
        jobs = [bench.submit(name) for name in ("count", "count_async") * 5]
        for job in jobs:
            bench.event(job, State.SUCCEEDED)

        assert broken == [False] * 10


def test_a_thread_that_runs_too_long_is_cut_off(registry: Registry) -> None:
    @task(name="slow", registry=registry, timeout=0.1, retry=ONCE)
    def slow() -> None:
        while True:
            time.sleep(0.01)

    @task(name="fine", registry=registry)
    def fine() -> int:
        return 1

    with running(registry, concurrency=1) as bench:
        bench.submit("slow")
        headers = bench.dead().headers
        job = bench.submit("fine")

        assert headers["warren-dead-outcome"] == "timeout"
        assert headers["warren-error-message"] == "the attempt ran longer than its timeout of 0.1 s"
        assert "time.sleep(0.01)" in str(headers["warren-error-traceback"])
        assert bench.event(job, State.SUCCEEDED).result == "1"


def test_the_jobs_own_timeout_beats_the_tasks(registry: Registry) -> None:
    @task(name="slow", registry=registry, timeout=60, retry=ONCE)
    async def slow() -> None:
        await asyncio.sleep(60)

    with running(registry) as bench:
        bench.submit("slow", timeout_seconds=0.1)

        assert bench.dead().headers["warren-error-message"] == "the attempt ran longer than its timeout of 0.1 s"


def test_a_timeout_error_of_the_tasks_own_is_an_ordinary_failure(registry: Registry) -> None:
    @task(name="own", registry=registry, retry=ONCE)
    async def own() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)

    with running(registry) as bench:
        bench.submit("own")

        assert bench.dead().headers["warren-dead-outcome"] == "failed"


def test_a_thread_that_ignores_its_limit_is_reported(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("warren_worker.limit.AGAIN_SECONDS", 0.05)

    @task(name="deaf", registry=registry, timeout=0.05)
    def deaf() -> str:
        ignored = 0
        while ignored < 3:
            try:
                time.sleep(0.01)
            except Exception:  # noqa: BLE001
                ignored += 1
        return "done anyway"

    with running(registry) as bench:
        job = bench.submit("deaf")

        assert bench.event(job, State.SUCCEEDED).result == '"done anyway"'
        assert "goes on after its timeout of 0.05 s" in caplog.text


def test_a_limit_never_strikes_a_job_that_ended_just_in_time(registry: Registry) -> None:
    @task(name="close", registry=registry, timeout=0.02, retry=ONCE)
    def close(seconds: float) -> None:
        time.sleep(seconds)

    @task(name="fine", registry=registry)
    def fine() -> int:
        return sum(range(1000))

    with running(registry, concurrency=1) as bench:
        for tenth in range(100):
            bench.submit("close", {"seconds": 0.0195 + tenth * 0.00001})
        jobs = [bench.submit("fine") for _ in range(20)]

        for job in jobs:
            assert bench.event(job, State.SUCCEEDED, 30).result == "499500"


def test_a_process_task_runs_in_a_child_that_is_used_again(bench: Bench) -> None:
    first, second = (
        json.loads(bench.event(bench.submit("child.add", {"left": 1, "right": 2}), State.SUCCEEDED, 30).result or "")
        for _ in range(2)
    )

    assert first[0] == 3
    assert first[1] != os.getpid()
    assert first == second


def test_an_async_def_may_run_in_a_child(bench: Bench) -> None:
    assert bench.event(bench.submit("child.async"), State.SUCCEEDED, 30).result == '"async in a child"'


@pytest.mark.parametrize(
    ("name", "arguments", "outcome", "message"),
    [
        ("child.exit", {"status": 3}, "crashed", "exited with status 3 while it ran the job"),
        ("child.segfault", {}, "crashed", "was killed by signal 11 (SIGSEGV)"),
        ("child.memory", {"megabytes": 1024}, "out-of-memory", ""),
        ("child.system_exit", {}, "failed", "the task gave up"),
        ("child.discard", {}, "discarded", "not worth it"),
        ("child.exit", {"status": "x"}, "invalid", "arguments of task 'child.exit' are invalid"),
    ],
)
def test_every_end_of_a_child_is_told_and_the_next_job_finds_another(
    bench: Bench, name: str, arguments: dict[str, Any], outcome: str, message: str
) -> None:
    bench.submit(name, arguments)
    headers = bench.dead(30).headers
    job = bench.submit("child.add", {"left": 1, "right": 2})

    assert headers["warren-dead-outcome"] == outcome
    assert message in str(headers["warren-error-message"])
    bench.event(job, State.SUCCEEDED, 30)
    eventually(bench.is_empty)


def test_a_child_may_ask_for_a_retry_after_a_delay(bench: Bench) -> None:
    job = bench.submit("child.retry_after")
    retrying = bench.event(job, State.RETRYING, 30)

    assert retrying.retry_at_ms is not None
    assert retrying.retry_at_ms - retrying.at_ms == 64_000


def test_a_child_that_will_not_end_is_killed_with_all_it_started(bench: Bench, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    bench.submit("child.spin", {"path": str(pids)})
    headers = bench.dead(30).headers

    assert headers["warren-dead-outcome"] == "timeout"
    for pid in map(int, pids.read_text().split()):
        eventually(lambda pid=pid: not _lives(pid))


@pytest.mark.parametrize(("end", "outcome"), [("hang", "timeout"), ("exit", "crashed")])
def test_what_a_child_started_dies_with_it_wherever_it_went(
    bench: Bench, tmp_path: Path, end: str, outcome: str
) -> None:
    pids = tmp_path / "pids"
    bench.submit("child.escape", {"path": str(pids), "end": end})
    headers = bench.dead(30).headers

    assert headers["warren-dead-outcome"] == outcome
    for pid in map(int, pids.read_text().split()):
        eventually(lambda pid=pid: not _lives(pid))


def test_a_child_that_the_kernel_killed_for_memory_is_told_from_one_that_was_killed(bench: Bench) -> None:
    counts = [3, 4, 4, 4]
    bench.worker._pools._children._oom_kills = lambda: counts.pop(0)

    for _ in range(2):
        bench.submit("child.kill_self")
    letters = eventually(lambda: len(found := bench.transport.messages("warren.dead")) == 2 and found, 30)

    [by_kernel] = [each.headers for each in letters if each.headers["warren-dead-outcome"] == "out-of-memory"]
    [by_others] = [each.headers for each in letters if each.headers["warren-dead-outcome"] == "crashed"]
    assert str(by_kernel["warren-error-message"]).endswith("killed it for memory")
    assert str(by_others["warren-error-message"]).endswith("was killed by signal 9 (SIGKILL) while it ran the job")


def test_the_memory_limit_of_a_job_holds_for_the_processes_it_starts(bench: Bench) -> None:
    fits, does_not = (bench.submit("child.nested_memory", {"megabytes": megabytes}) for megabytes in (1, 1024))

    assert bench.event(fits, State.SUCCEEDED, 30).result == '""'
    assert bench.event(does_not, State.SUCCEEDED, 30).result == '"MemoryError"'


def test_the_checkpoint_of_a_child_that_died_reaches_the_next_attempt(bench: Bench) -> None:
    job = bench.submit("child.checkpoint")
    done = bench.event(job, State.SUCCEEDED, 30)
    retrying = bench.event(job, State.RETRYING)

    assert json.loads(done.result or "") == {"at": 5}
    assert (retrying.outcome, retrying.progress, retrying.progress_message) == ("crashed", 0.5, "half")


def test_a_cancel_reaches_a_child(bench: Bench, tmp_path: Path) -> None:
    started = tmp_path / "started"
    job = bench.submit("child.wait_cancelled", {"path": str(started)})
    eventually(started.exists, 30)
    bench.worker.drain(0)

    assert bench.event(job, State.SUCCEEDED).result == '"cancelled"'


def test_progress_is_told_once_a_second_and_the_last_one_always(registry: Registry) -> None:
    @task(name="steps", registry=registry)
    def steps(ctx: Context) -> None:
        for step in range(101):
            ctx.progress(step / 100, f"step {step}")

    with running(registry) as bench:
        job = bench.submit("steps")
        done = bench.event(job, State.SUCCEEDED)

        assert (done.progress, done.progress_message) == (1.0, "step 100")
        assert len(bench.events(job)) <= 3


def test_progress_held_back_is_told_a_second_later(registry: Registry) -> None:
    release = threading.Event()

    @task(name="steps", registry=registry)
    def steps(ctx: Context) -> None:
        ctx.progress(0.0)
        ctx.progress(0.25)
        ctx.progress(0.75)
        release.wait(10)

    with running(registry) as bench:
        job = bench.submit("steps")
        eventually(lambda: 0.75 in [event.progress for event in bench.events(job)])
        seen = [event.progress for event in bench.events(job) if event.progress is not None]
        release.set()

        assert seen == [0.0, 0.75]


def test_a_task_sees_what_its_context_promises(registry: Registry) -> None:
    @task(name="look", registry=registry)
    def look(ctx: Context) -> list[Any]:
        left = ctx.deadline.timestamp() - time.time()
        return [ctx.job_id, ctx.task, ctx.queue, ctx.attempt, ctx.max_attempts, ctx.cancelled, 50 < left <= 60]

    with running(registry) as bench:
        job = bench.submit("look", timeout_seconds=60, attempt=2, max_attempts=9)

        done = bench.event(job, State.SUCCEEDED)
        assert json.loads(done.result or "") == [job, "look", "default", 2, 9, False, True]


def test_a_checkpoint_that_cannot_be_read_counts_as_none(registry: Registry) -> None:
    @task(name="look", registry=registry)
    def look(ctx: Context) -> Any:
        return ctx.state

    with running(registry) as bench:
        assert bench.event(bench.submit("look", state="{broken"), State.SUCCEEDED).result == "null"


def test_a_drain_gives_back_what_did_not_start_and_finishes_what_did(registry: Registry) -> None:
    release = threading.Event()

    @task(name="hold", registry=registry)
    def hold() -> str:
        release.wait(10)
        return "finished"

    with running(registry, concurrency=1, prefetch=3) as bench:
        first = bench.submit("hold")
        bench.event(first, State.RUNNING)
        others = [bench.submit("hold") for _ in range(4)]
        eventually(lambda: bench.unsettled() == 3)
        draining = threading.Thread(target=lambda: bench.worker.drain(10), daemon=True)
        draining.start()
        eventually(lambda: len(bench.ready()) == 4)

        assert bench.worker.pulse.unready() == "draining"
        assert draining.is_alive()
        release.set()
        draining.join(10)
        assert bench.event(first, State.SUCCEEDED).result == '"finished"'
        assert {decode(message).id for message in bench.ready()} == set(others)
        assert {decode(message).attempt for message in bench.ready()} == {1}


def test_a_job_that_outlasts_the_drain_goes_back_with_its_checkpoint(registry: Registry) -> None:
    release = threading.Event()

    @task(name="hold", registry=registry)
    def hold(ctx: Context) -> None:
        ctx.checkpoint({"at": 9})
        release.wait(20)

    with running(registry) as bench:
        job = bench.submit("hold")
        eventually(lambda: bench.unsettled() == 1 and bench.events(job))
        finished = bench.worker.drain(0.1)
        [back] = eventually(bench.ready)
        release.set()

        assert not finished
        envelope = decode(back)
        assert (envelope.id, envelope.attempt - envelope.forgiven, envelope.state) == (job, 1, '{"at":9}')
        assert bench.event(job, State.RETRYING).outcome == "given-back"
        assert bench.unsettled() == 0


def test_a_job_that_listens_ends_within_the_drain(registry: Registry) -> None:
    @task(name="polite", registry=registry)
    def polite(ctx: Context) -> str:
        while not ctx.cancelled:
            time.sleep(0.01)
        return "stopped early"

    with running(registry) as bench:
        job = bench.submit("polite")
        bench.event(job, State.RUNNING)
        bench.worker.drain(0.1)

        assert bench.event(job, State.SUCCEEDED).result == '"stopped early"'


def test_the_last_attempt_is_not_lost_to_brokers_that_count_a_hand_back(registry: Registry) -> None:
    release = threading.Event()

    @task(name="hold", registry=registry, retry=ONCE)
    def hold() -> None:
        release.wait(20)

    with running(registry, concurrency=1, prefetch=2) as bench:
        bench.event(bench.submit("hold"), State.RUNNING)
        bench.submit("hold")
        eventually(lambda: bench.unsettled() == 2)
        bench.worker.drain(0.1)
        release.set()

        back = eventually(lambda: len(found := bench.ready()) == 2 and found)
        assert [decode(message).attempt - decode(message).forgiven for message in back] == [1, 1]


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
