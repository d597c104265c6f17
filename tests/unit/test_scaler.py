"""The scaler's decisions and its loop, on a fleet and depths of our own making."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from warren.amqp.management import Depths as QueueDepths
from warren.errors import SettingsError, Unavailable
from warren.lifecycle import StopSignal
from warren.settings import LifeSettings, load
from warren.status import WorkerStatus
from warren_scaler.__main__ import main
from warren_scaler.decision import Step, Work
from warren_scaler.depths import Depths
from warren_scaler.fleet import Member
from warren_scaler.loop import Loop
from warren_scaler.settings import ScalerSettings


def status(worker: str, running: int = 0, ended: int = 0, seconds: float = 0.0, concurrency: int = 10) -> WorkerStatus:
    return WorkerStatus(
        worker=worker,
        concurrency=concurrency,
        running=running,
        waiting=0,
        oldest_job_seconds=0,
        draining=False,
        ended=ended,
        ended_seconds=seconds,
    )


class FakeFleet:
    """Workers that are names; draining ones end when told."""

    def __init__(self) -> None:
        self.workers: dict[str, Member] = {}
        self.log: list[str] = []
        self.started = 0

    def members(self) -> list[Member]:
        return list(self.workers.values())

    def grow(self, count: int) -> int:
        for _ in range(count):
            self.started += 1
            self.tell(status(f"w{self.started}"))
        self.log.append(f"+{count}")
        return count

    def drain(self, names: Collection[str]) -> None:
        for name in names:
            self.workers[name] = replace(self.workers[name], draining=True)
        self.log.append("-" + ",".join(names))

    def tell(self, told: WorkerStatus) -> None:
        """Let a worker tell something of itself."""
        known = self.workers.get(told.worker, Member(name=told.worker))
        self.workers[told.worker] = replace(known, status=told)

    def silence(self, name: str) -> None:
        self.workers[name] = replace(self.workers[name], status=None)


class World:
    """A loop with everything around it under the test's hand."""

    def __init__(self, **settings: float) -> None:
        self.now = 100.0
        self.work: Work | None = Work(ready=0, unacked=0)
        self.fleet = FakeFleet()
        self.registry = CollectorRegistry()
        chosen = load(ScalerSettings, **({"max": 4, "jobs_per_worker": 10, "stable_seconds": 5} | settings))
        self.loop = Loop(self.fleet, lambda: self.work, chosen, clock=lambda: self.now, registry=self.registry)

    def step(self, ready: int, unacked: int, seconds: float = 1.0) -> Step:
        self.now += seconds
        self.work = Work(ready=ready, unacked=unacked)
        return self.loop.step()


def test_the_fleet_grows_from_nothing_to_its_maximum_in_one_step() -> None:
    world = World()

    world.step(ready=500, unacked=0)

    assert world.fleet.log == ["+4"]


def test_a_short_gap_in_the_work_lets_no_worker_go() -> None:
    world = World()
    world.step(ready=40, unacked=0)

    for _ in range(4):
        world.step(ready=0, unacked=0)
    world.step(ready=40, unacked=0)

    assert world.fleet.log == ["+4"]


def test_an_idle_fleet_returns_to_its_minimum_at_once_after_the_stable_time() -> None:
    world = World()
    world.step(ready=40, unacked=0)

    for _ in range(6):
        world.step(ready=0, unacked=0)

    assert world.fleet.log == ["+4", "-w4,w3,w2,w1"]


def test_only_idle_workers_are_let_go_the_youngest_first() -> None:
    world = World()
    world.step(ready=40, unacked=0)
    for name in ("w1", "w4"):
        world.fleet.tell(status(name, running=1))
    world.fleet.silence("w3")

    for _ in range(10):
        world.step(ready=0, unacked=2)

    assert world.fleet.log == ["+4", "-w2"]


def test_while_all_are_busy_none_is_let_go_though_fewer_would_do() -> None:
    world = World(max=2, min=1)
    world.step(ready=20, unacked=0)
    world.fleet.silence("w1")
    world.fleet.silence("w2")

    for _ in range(10):
        step = world.step(ready=0, unacked=1)

    assert (step.reason, world.fleet.log) == ("busy", ["+2"])


def test_the_last_worker_stays_while_its_job_runs() -> None:
    world = World()
    world.step(ready=1, unacked=0)
    world.fleet.tell(status("w1", running=1))

    for _ in range(20):
        world.step(ready=0, unacked=1)

    assert world.fleet.log == ["+1"]


def test_what_workers_tell_of_their_jobs_decides_once_there_is_something_to_tell() -> None:
    world = World(max=50, slo_seconds=30, jobs_per_worker=100)
    world.step(ready=100, unacked=0)

    world.fleet.tell(status("w1", running=2, ended=10, seconds=600, concurrency=2))
    world.step(ready=38, unacked=2)

    assert world.fleet.log == ["+1", "+19"]


def test_what_was_learnt_is_known_when_there_is_no_worker() -> None:
    world = World(max=50, jobs_per_worker=100, stable_seconds=0)
    world.step(ready=1, unacked=0)
    world.fleet.tell(status("w1", ended=10, seconds=600, concurrency=2))
    world.step(ready=0, unacked=0)
    world.fleet.workers.clear()

    world.step(ready=40, unacked=0)

    assert world.fleet.log == ["+1", "-w1", "+20"]


def test_jobs_that_draining_workers_finish_ask_for_no_new_worker() -> None:
    world = World(min=0, stable_seconds=0, jobs_per_worker=1)
    world.step(ready=1, unacked=0)
    world.step(ready=0, unacked=0)
    world.fleet.tell(status("w1", running=1))

    world.step(ready=0, unacked=1)

    assert world.fleet.log == ["+1", "-w1"]


def test_missing_data_holds_the_fleet_whatever_was_wanted_before() -> None:
    world = World()
    world.step(ready=40, unacked=0)
    world.step(ready=0, unacked=0)

    for _ in range(20):
        world.now += 1
        world.work = None
        world.loop.step()

    assert world.fleet.log == ["+4"]


def test_a_lost_worker_is_replaced() -> None:
    world = World()
    world.step(ready=40, unacked=0)
    del world.fleet.workers["w2"]
    for name in ("w1", "w3", "w4"):
        world.fleet.tell(status(name, running=10))

    world.step(ready=0, unacked=40)

    assert world.fleet.log == ["+4", "+1"]


def test_the_metrics_tell_the_fleet_and_the_reasons() -> None:
    world = World()
    world.step(ready=25, unacked=0)
    world.step(ready=25, unacked=0)

    def sample(name: str, **labels: str) -> float | None:
        return world.registry.get_sample_value(name, labels)

    assert sample("warren_scaler_workers", worker_set="local", state="desired") == 3
    assert sample("warren_scaler_workers", worker_set="local", state="actual") == 3
    assert sample("warren_scaler_workers", worker_set="local", state="draining") == 0
    assert sample("warren_scaler_decisions_total", worker_set="local", reason="up") == 1
    assert sample("warren_scaler_decisions_total", worker_set="local", reason="hold") == 1


def test_a_loop_that_no_longer_turns_is_dead() -> None:
    world = World()
    world.step(ready=0, unacked=0)
    alive = world.loop.dead()

    world.now += 61

    assert alive is None
    assert world.loop.dead() == "the loop has not turned for 61 s"


def test_the_loop_runs_until_it_is_told_to_stop() -> None:
    world, stop, turns = World(interval_seconds=0.01), StopSignal(), []
    look = world.loop._look

    def counted() -> Work | None:
        turns.append(1)
        if len(turns) == 3:
            stop.request()
        return look()

    world.loop._look = counted

    world.loop.run(stop)

    assert len(turns) == 3


class FakeManagement:
    def __init__(self, answer: Callable[[], dict[str, QueueDepths]]) -> None:
        self.queue_depths = answer


def test_only_job_queues_count_as_work() -> None:
    depths = {
        "warren.q.default": QueueDepths(ready=3, unacked=1, consumers=1),
        "warren.q.media": QueueDepths(ready=4, unacked=2, consumers=0),
        "warren.delay.03": QueueDepths(ready=100, unacked=0, consumers=0),
        "warren.dead": QueueDepths(ready=50, unacked=0, consumers=0),
    }

    assert Depths(FakeManagement(lambda: depths)).look() == Work(ready=7, unacked=3)  # type: ignore[arg-type]


def test_a_silent_broker_is_missing_data_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> dict[str, QueueDepths]:
        raise Unavailable("nobody there")

    depths = Depths(FakeManagement(away))  # type: ignore[arg-type]

    assert [depths.look(), depths.look()] == [None, None]
    assert [record.message for record in caplog.records] == ["depths unknown, the fleet is held: nobody there"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WARREN_SCALER_MIN", "9"), ("WARREN_SCALER_JOBS_PER_WORKER", "0"), ("WARREN_SCALER_INTERVAL_SECONDS", "soon")],
)
def test_a_wrong_setting_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable):
        load(ScalerSettings)


def test_a_wrong_probe_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_PROBE_BIND", "here")

    with pytest.raises(SettingsError, match="WARREN_PROBE_BIND is 'here': must be host:port"):
        load(LifeSettings)


def test_an_unknown_mode_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["elsewhere"]) == 2
    assert "usage: python -m warren_scaler local" in capsys.readouterr().err


def test_a_busy_worker_does_not_pass_for_a_free_slot() -> None:
    world = World(max=50, slo_seconds=30, stable_seconds=0, jobs_per_worker=100)
    world.step(ready=1, unacked=0)
    world.fleet.tell(status("w1", running=1, ended=50, seconds=100, concurrency=1))

    world.step(ready=29, unacked=1)

    assert world.fleet.log == ["+1", "+2"]
