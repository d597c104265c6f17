"""Pausing queues, and draining by order."""

from __future__ import annotations

import threading

import pytest

from waiting import eventually
from warren.control import Drain, Pause, Resume, Undrain
from warren.events import State
from warren.task import Registry, task
from warren_worker import health
from worker_harness import Bench, running

ME = "worker-1"


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @task(name="quick", registry=made)
    def quick() -> None: ...

    @task(name="other", queue="other", registry=made)
    def other() -> None: ...

    return made


@pytest.fixture
def release(registry: Registry) -> threading.Event:
    """Lets the runs of task `hold` end."""
    event = threading.Event()

    @task(name="hold", registry=registry)
    def hold() -> None:
        event.wait(20)

    return event


def consumers(bench: Bench, queue: str = "default") -> int:
    return bench.transport.depth(f"warren.q.{queue}").result(5).consumers


def events_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records if hasattr(record, "event")]


def test_a_paused_queue_is_not_consumed_and_others_are(registry: Registry, release: threading.Event) -> None:
    with running(registry, concurrency=1, prefetch=3) as bench:
        runs = bench.submit("hold")
        bench.event(runs, State.RUNNING)
        bench.submit("quick")
        bench.submit("quick")
        eventually(lambda: bench.unsettled() == 3)
        bench.order(Pause(queue="default"))

        eventually(lambda: len(bench.ready()) == 2)
        release.set()
        bench.event(runs, State.SUCCEEDED)
        bench.event(bench.submit("other", queue="other"), State.SUCCEEDED)
        assert len(bench.ready()) == 2
        assert consumers(bench) == 0

        bench.order(Resume(queue="default"))
        eventually(bench.is_empty)


def test_a_worker_that_starts_while_a_queue_is_paused_leaves_it_alone_and_is_ready(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(health, "UNREADY_AFTER_SECONDS", 0.1)
    bench = Bench(registry, queues="default")
    bench.order(Pause(queue="default"))
    job = bench.submit("quick")
    bench.worker.start()
    eventually(lambda: bench.worker._control.synced)
    beat = bench.worker.pulse._beat_at

    eventually(lambda: bench.worker.pulse._beat_at > beat + 0.2)
    assert bench.worker.pulse.unready() is None
    assert consumers(bench) == 0
    bench.order(Resume(queue="default"))
    bench.event(job, State.SUCCEEDED)
    bench.worker.drain(2)
    bench.transport.stop()


def test_pausing_and_resuming_again_and_again_loses_nothing(registry: Registry) -> None:
    with running(registry) as bench:
        jobs = []
        for _ in range(30):
            jobs.append(bench.submit("quick"))
            bench.order(Pause(queue="default"))
            bench.order(Resume(queue="default"))

        for job in jobs:
            bench.event(job, State.SUCCEEDED)
        eventually(bench.is_empty)
        assert consumers(bench) == 1


def test_a_worker_drains_when_told_and_goes_on_when_told(
    registry: Registry,
    release: threading.Event,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO")
    with running(registry, concurrency=1, prefetch=2) as bench:
        runs = bench.submit("hold")
        bench.event(runs, State.RUNNING)
        waits = bench.submit("quick")
        eventually(lambda: bench.unsettled() == 2)
        bench.order(Drain(workers=("worker-2", ME)))
        eventually(lambda: bench.worker.status.draining)
        eventually(lambda: len(bench.ready()) == 1)
        # An unready pod would be the first that a ReplicaSet deletes, and a job may take an hour.
        with monkeypatch.context() as patched:
            patched.setattr(health, "UNREADY_AFTER_SECONDS", -1.0)
            assert bench.worker.pulse.unready() is None
        gauge = bench.sample("warren_worker_draining")
        early = "drained" in events_of(caplog)
        release.set()
        bench.event(runs, State.SUCCEEDED)

        eventually(lambda: bench.worker.pulse.unready() == "drained by order")
        eventually(lambda: "drained" in events_of(caplog))
        assert (gauge, early, bench.events(waits)) == (1, False, [])

        bench.order(Undrain(workers=(ME,)))
        bench.event(waits, State.SUCCEEDED)
        assert bench.worker.pulse.unready() is None
        assert bench.sample("warren_worker_draining") == 0


def test_a_worker_tells_what_it_does(registry: Registry, release: threading.Event) -> None:
    with running(registry, concurrency=2, prefetch=4) as bench:
        idle = bench.worker.status
        held = bench.submit("hold")
        bench.event(held, State.RUNNING)
        bench.submit("hold")
        bench.submit("hold")
        eventually(lambda: bench.worker.status.held == 3)
        eventually(lambda: bench.worker.status.oldest_job_seconds > 0.05)
        busy = bench.worker.status

        bench.order(Drain(workers=(ME,)))
        eventually(lambda: bench.worker.status.draining)
        eventually(lambda: bench.worker.status.waiting == 0)
        draining = bench.worker.status
        release.set()
        eventually(lambda: bench.worker.status.drained)
        ended = bench.worker.status

    assert (idle.worker, idle.concurrency, idle.held, idle.oldest_job_seconds, idle.draining) == (ME, 2, 0, 0, False)
    assert (busy.running, busy.waiting, busy.draining) == (2, 1, False)
    assert ended.oldest_job_seconds == 0
    assert (draining.running, draining.drained) == (2, False)
    assert (busy.ended, ended.ended) == (0, 2)
    assert 0.1 < ended.ended_seconds < 60


def test_an_idle_worker_is_drained_at_once_and_only_once(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with running(registry) as bench:
        eventually(lambda: consumers(bench) == 1)
        bench.order(Drain(workers=(ME,)))
        bench.order(Drain(workers=(ME,)))
        eventually(lambda: bench.worker.pulse.unready() == "drained by order")
        bench.order(Pause(queue="other"))
        bench.order(Resume(queue="other"))
        eventually(lambda: "other" not in bench.worker._control._orders.paused)

        assert consumers(bench) == consumers(bench, "other") == 0
        assert events_of(caplog).count("drained") == 1


def test_orders_for_other_workers_and_those_from_before_the_start_do_not_count(registry: Registry) -> None:
    bench = Bench(registry)
    bench.order(Drain(workers=(ME,)))
    bench.worker.start()
    bench.order(Drain(workers=("worker-2",)))
    bench.order(Undrain(workers=(ME,)))

    bench.event(bench.submit("quick"), State.SUCCEEDED)
    assert bench.worker.pulse.unready() is None
    bench.worker.drain(2)
    bench.transport.stop()


def test_a_worker_that_ends_heeds_no_order_to_go_on(registry: Registry, release: threading.Event) -> None:
    with running(registry) as bench:
        bench.event(bench.submit("hold"), State.RUNNING)
        bench.order(Drain(workers=(ME,)))
        eventually(lambda: bench.worker.status.draining)
        ending = threading.Thread(target=bench.worker.drain, args=(20,))
        ending.start()
        eventually(lambda: bench.worker.pulse.unready() == "draining")
        bench.order(Undrain(workers=(ME,)))
        bench.order(Resume(queue="other"))
        bench.order(Drain(workers=(ME,)))
        job = bench.submit("quick")
        release.set()
        ending.join(10)

        assert not ending.is_alive()
        assert bench.events(job) == []
        assert bench.worker.pulse.unready() == "draining"
