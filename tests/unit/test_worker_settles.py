"""Every row of the settle table, on a whole worker and the in-memory transport."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from waiting import eventually
from warren import Context, Discard, Retry
from warren.envelope import Envelope, Message, decode, new_job_id
from warren.events import State
from warren.task import Registry, task
from warren.topology import UNROUTABLE, level_name
from worker_harness import message_of, running

QUICK = Retry(max_attempts=3, min_delay=0, max_delay=0)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_job_that_returns_is_recorded_with_its_result_and_leaves_nothing_behind(registry: Registry) -> None:
    @task(name="add", registry=registry)
    def add(left: int, right: int) -> dict[str, int]:
        return {"sum": left + right}

    with running(registry) as bench:
        job = bench.submit("add", {"left": 2, "right": 3}, tenant="acme")
        done = bench.event(job, State.SUCCEEDED)

        assert json.loads(done.result or "") == {"sum": 5}
        assert (done.outcome, done.attempt, done.worker, done.tenant) == ("succeeded", 1, "worker-1", "acme")
        assert done.started_ms is not None
        assert done.started_ms <= done.at_ms
        eventually(bench.is_empty)
        labels = {"queue": "warren.q.default", "task": "add"}
        assert bench.sample("warren_attempts_total", outcome="succeeded", **labels) == 1
        assert bench.sample("warren_attempt_seconds_count", **labels) == 1
        assert bench.sample("warren_queue_wait_seconds_count", **labels) == 1


def test_a_failed_job_comes_back_with_the_next_attempt_and_its_checkpoint(registry: Registry) -> None:
    @task(name="steps", registry=registry, retry=QUICK)
    def steps(ctx: Context) -> list[Any]:
        if ctx.state is None:
            ctx.checkpoint({"step": 1})
            raise RuntimeError("first try")
        return [ctx.attempt, ctx.state]

    with running(registry) as bench:
        job = bench.submit("steps")
        done = bench.event(job, State.SUCCEEDED)
        retrying = bench.event(job, State.RETRYING)

        assert json.loads(done.result or "") == [2, {"step": 1}]
        assert (retrying.attempt, retrying.outcome) == (1, "failed")
        assert retrying.error is not None
        assert (retrying.error.type, retrying.error.message) == ("RuntimeError", "first try")
        assert 'raise RuntimeError("first try")' in retrying.error.traceback
        assert "warren_worker" not in retrying.error.traceback
        eventually(bench.is_empty)


def test_a_retry_with_a_delay_waits_on_the_ladder(registry: Registry) -> None:
    @task(name="later", registry=registry)
    def later(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise Retry.after(3600)
        return ctx.attempt

    with running(registry) as bench:
        job = bench.submit("later")
        retrying = bench.event(job, State.RETRYING)
        eventually(lambda: len(bench.waiting()) == 1)

        assert retrying.retry_at_ms is not None
        assert retrying.retry_at_ms - retrying.at_ms == 3_600_000
        bench.transport.advance(3600)
        assert bench.event(job, State.SUCCEEDED).result == "2"


def test_a_job_out_of_attempts_is_a_dead_letter_that_tells_all(registry: Registry) -> None:
    @task(name="broken", registry=registry, retry=QUICK)
    def broken(size: int) -> None:
        raise ValueError(f"bad size {size}")

    with running(registry) as bench:
        job = bench.submit("broken", {"size": 7})
        letter = bench.dead()

        headers = dict(letter.headers)
        assert decode(letter).id == job
        assert letter.body == b'{"size": 7}'
        assert headers["warren-dead-reason"] == "failed 3 of 3 attempts"
        assert headers["warren-dead-outcome"] == "failed"
        assert (headers["warren-error-type"], headers["warren-error-message"]) == ("ValueError", "bad size 7")
        assert "bad size" in str(headers["warren-error-traceback"])
        assert (headers["warren-worker"], headers["warren-dead-attempt"]) == ("worker-1", 3)
        assert int(str(headers["warren-started-ms"])) <= int(str(headers["warren-dead-ms"]))
        eventually(bench.is_empty)
        assert [event.attempt for event in bench.events(job) if event.state is State.RETRYING] == [1, 2]


def test_the_jobs_own_limit_of_attempts_beats_the_tasks(registry: Registry) -> None:
    @task(name="broken", registry=registry, retry=QUICK)
    def broken() -> None:
        raise ValueError

    with running(registry) as bench:
        bench.submit("broken", max_attempts=1)

        assert bench.dead().headers["warren-dead-reason"] == "failed 1 of 1 attempts"


def test_a_discarded_job_is_dead_at_once_with_its_reason(registry: Registry) -> None:
    @task(name="picky", registry=registry)
    def picky() -> None:
        raise Discard("the customer is gone")

    with running(registry) as bench:
        bench.submit("picky")
        headers = bench.dead().headers

        assert headers["warren-dead-reason"] == "the customer is gone"
        assert (headers["warren-dead-outcome"], headers["warren-dead-attempt"]) == ("discarded", 1)


@pytest.mark.parametrize(
    "body", [b'{"left": "x"}', b"[1]", b"not json", b'{"left": 1, "more": 2}', b"\xff\xfe", b"[" * 9999]
)
def test_arguments_that_do_not_fit_end_dead_as_invalid_without_a_run(registry: Registry, body: bytes) -> None:
    ran = threading.Event()

    @task(name="add", registry=registry)
    def add(left: int) -> None:
        ran.set()

    with running(registry) as bench:
        bench.submit("add", body=body)
        headers = bench.dead().headers

        assert headers["warren-dead-outcome"] == "invalid"
        assert "arguments of task 'add' are invalid" in str(headers["warren-dead-reason"])
        assert not ran.is_set()


def test_an_unknown_task_is_parked_without_burning_an_attempt(registry: Registry) -> None:
    with running(registry, queues="default") as bench:
        job = bench.submit("tomorrow", attempt=2)
        parked = bench.event(job, State.PARKED)
        [waiting] = eventually(bench.waiting)

        assert decode(waiting).attempt == 2
        assert decode(waiting).parked_count == 1
        assert parked.retry_at_ms is not None
        assert parked.retry_at_ms - parked.at_ms == 32_000

        @task(name="tomorrow", registry=registry)
        def tomorrow(ctx: Context) -> int:
            return ctx.attempt

        bench.transport.advance(32)
        assert bench.event(job, State.SUCCEEDED).result == "2"


def test_a_job_parked_for_a_day_is_dead(registry: Registry) -> None:
    a_day_ago = int(time.time() * 1000) - 24 * 3600 * 1000

    with running(registry, queues="default") as bench:
        bench.submit("never", parked_ms=a_day_ago, parked_count=300)
        headers = bench.dead().headers

        assert "parked for 24 h" in str(headers["warren-dead-reason"])
        assert headers["warren-error-type"] == "warren.errors.UnknownTask"


def test_a_message_of_a_newer_version_is_parked_as_it_is(registry: Registry) -> None:
    envelope = Envelope(id=new_job_id(), task="add", queue="default", body=b'{"a":1}')

    with running(registry, queues="default") as bench:
        bench.put(message_of(envelope, **{"warren-v": 2, "warren-new": "kept", "x-death": "not kept"}))
        bench.event(envelope.id, State.PARKED)
        [waiting] = eventually(bench.waiting)

        assert waiting.headers["warren-v"] == 2
        assert waiting.headers["warren-new"] == "kept"
        assert waiting.headers["warren-parked-count"] == 1
        assert "x-death" not in waiting.headers
        assert waiting.body == b'{"a":1}'
        eventually(lambda: not bench.unsettled())


def test_a_message_of_a_newer_version_is_dead_after_a_day(registry: Registry) -> None:
    envelope = Envelope(id=new_job_id(), task="add", queue="default")

    with running(registry, queues="default") as bench:
        bench.put(message_of(envelope, **{"warren-v": 2, "warren-parked-ms": 1}))

        assert bench.dead().headers["warren-dead-outcome"] == "undecodable"


@pytest.mark.parametrize(
    "message",
    [
        Message(body=b"\x80\x04\x95pickle", content_type="application/x-python-serialize"),
        Message(body=b"x" * (2 * 1024 * 1024), content_type="application/json", headers={"warren-v": 1}),
        Message(body=b"{}"),
        Message(body=b"{}", content_type="application/json", headers={"warren-v": "1"}),
        Message(body=b"{}", headers={"warren-v": 1.5, "deep": {"a": [1, {"b": b"\xff"}]}, "t": None}),
        Message(
            body=b"{}", message_id="../../etc", type="a.b", content_type="application/json", headers={"warren-v": 1}
        ),
    ],
)
def test_a_message_that_is_no_job_is_kept_whole_among_the_dead_and_the_worker_lives(
    registry: Registry, message: Message
) -> None:
    @task(name="fine", registry=registry)
    def fine() -> str:
        return "alive"

    with running(registry) as bench:
        bench.put(message)
        letter = bench.dead()
        job = bench.submit("fine")

        assert letter.body == message.body
        assert letter.headers["warren-dead-outcome"] == "undecodable"
        assert str(letter.headers["warren-dead-reason"]).startswith("not a Warren job: ")
        assert bench.event(job, State.SUCCEEDED).result == '"alive"'
        eventually(bench.is_empty)


def test_an_expired_job_is_told_and_never_run(registry: Registry) -> None:
    ran = threading.Event()

    @task(name="stale", registry=registry)
    def stale() -> None:
        ran.set()

    with running(registry) as bench:
        job = bench.submit("stale", expires_ms=1)
        told = bench.event(job, State.EXPIRED)

        assert told.outcome == "expired"
        assert not ran.is_set()
        eventually(bench.is_empty)


def test_a_job_that_expires_while_it_waits_for_a_slot_is_not_run(registry: Registry) -> None:
    ran = threading.Event()
    release = threading.Event()

    @task(name="hold", registry=registry)
    def hold() -> None:
        release.wait(10)

    @task(name="stale", registry=registry)
    def stale() -> None:
        ran.set()

    with running(registry, concurrency=1) as bench:
        holding = bench.submit("hold")
        bench.event(holding, State.RUNNING)
        expires_ms = int(time.time() * 1000) + 100
        job = bench.submit("stale", expires_ms=expires_ms)
        eventually(lambda: bench.unsettled() == 2 and time.time() * 1000 > expires_ms)
        release.set()

        bench.event(job, State.EXPIRED)
        assert not ran.is_set()


def test_a_job_that_lost_its_worker_too_often_is_dead_after_one_run_more_than_its_attempts(registry: Registry) -> None:
    started: list[int] = []
    release = threading.Event()

    @task(name="poison", registry=registry, retry=Retry(max_attempts=2))
    def poison(ctx: Context) -> None:
        started.append(ctx.attempt)
        release.wait(10)

    with running(registry) as bench:
        bench.submit("poison")
        for count in (1, 2, 3):
            eventually(lambda count=count: len(started) == count)
            bench.lose_worker()
        headers = bench.dead().headers
        release.set()

        assert started == [1, 2, 3]
        assert headers["warren-dead-outcome"] == "lost"
        assert headers["warren-dead-attempt"] == 3
        assert headers["warren-dead-reason"] == (
            "no attempt left: 2 of 2 used, the last ones by workers that were lost"
        )
        assert "lost its worker 2 times" in str(headers["warren-error-message"])


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("bare")])
def test_a_base_exception_ends_the_attempt_and_not_the_worker(registry: Registry, error: BaseException) -> None:
    @task(name="rude", registry=registry, retry=Retry(max_attempts=1))
    def rude() -> None:
        raise error

    @task(name="rude_async", registry=registry, retry=Retry(max_attempts=1))
    async def rude_async() -> None:
        raise error

    @task(name="fine", registry=registry)
    async def fine() -> int:
        return 1

    with running(registry) as bench:
        bench.submit("rude")
        bench.submit("rude_async")
        letters = eventually(lambda: len(found := bench.transport.messages("warren.dead")) == 2 and found)
        job = bench.submit("fine")

        assert {letter.headers["warren-error-type"] for letter in letters} == {type(error).__name__}
        assert bench.event(job, State.SUCCEEDED).result == "1"


def test_a_result_that_is_not_json_or_too_large_is_left_out_and_noted(registry: Registry) -> None:
    @task(name="odd", registry=registry)
    def odd() -> object:
        return object()

    @task(name="large", registry=registry)
    def large() -> str:
        return "x" * 70_000

    with running(registry) as bench:
        told = [bench.event(bench.submit(name), State.SUCCEEDED) for name in ("odd", "large")]

        assert [event.result for event in told] == [None, None]
        assert "not JSON" in str(told[0].progress_message)
        assert "the limit is 65536" in str(told[1].progress_message)


def test_an_error_that_cannot_be_told_is_told_as_far_as_possible(registry: Registry) -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise SystemExit("no message for you")

    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no message either")

    @task(name="odd", registry=registry, retry=Retry(max_attempts=1))
    def odd() -> None:
        raise Odd

    @task(name="hostile", registry=registry, retry=Retry(max_attempts=1))
    def hostile() -> None:
        raise Hostile

    @task(name="garbled", registry=registry, retry=Retry(max_attempts=1))
    def garbled() -> None:
        raise ValueError("\ud800 \0 " + "long " * 1000)

    with running(registry) as bench:
        for name in ("odd", "hostile", "garbled"):
            bench.submit(name)
        letters = eventually(lambda: len(found := bench.transport.messages("warren.dead")) == 3 and found)
        messages = {decode(letter).task: str(letter.headers["warren-error-message"]) for letter in letters}

        assert "RuntimeError" in messages["odd"]
        assert "SystemExit" in messages["hostile"]
        assert messages["garbled"].startswith("\\ud800 \\x00 long")
        assert len(messages["garbled"]) <= 2048


def test_a_retry_whose_queue_is_not_on_the_broker_waits_for_a_repair(registry: Registry) -> None:
    @task(name="broken", registry=registry, retry=QUICK)
    def broken() -> None:
        raise ValueError

    envelope = Envelope(id=new_job_id(), task="broken", queue="elsewhere")

    with running(registry) as bench:
        bench.put(message_of(envelope))

        eventually(lambda: bench.transport.depth(level_name(0)).result(5).ready == 1)
        bench.transport.advance(1)
        eventually(lambda: bench.transport.depth(UNROUTABLE).result(5).ready == 1)


def test_a_job_whose_connection_went_while_it_ran_is_recorded_and_not_run_again_here(registry: Registry) -> None:
    runs: list[int] = []
    release = threading.Event()

    @task(name="long", registry=registry)
    def long(ctx: Context) -> int:
        runs.append(ctx.attempt)
        release.wait(10)
        return ctx.attempt

    with running(registry, concurrency=1) as bench:
        job = bench.submit("long")
        eventually(lambda: runs == [1])
        bench.transport.disconnect()
        release.set()
        bench.transport.reconnect()

        assert bench.event(job, State.SUCCEEDED).attempt == 1
        eventually(bench.is_empty)


def test_a_broker_alarm_holds_back_the_ack_until_the_event_is_safe(registry: Registry) -> None:
    @task(name="fine", registry=registry)
    def fine() -> int:
        return 1

    with running(registry) as bench:
        bench.transport.hold_confirms()
        publishing = threading.Thread(target=lambda: bench.submit("fine"), daemon=True)
        publishing.start()
        eventually(
            lambda: bench.sample("warren_attempts_total", queue="warren.q.default", task="fine", outcome="succeeded")
        )
        held = bench.unsettled()
        bench.transport.block()
        bench.transport.release_confirms()
        bench.transport.unblock()

        assert held == 1
        eventually(bench.is_empty)
        publishing.join(5)
