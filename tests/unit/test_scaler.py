"""The scaler's decisions and its loop, on a fleet and depths of our own making."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from warren.amqp.management import Depths as QueueDepths
from warren.errors import SettingsError, Unavailable
from warren.lifecycle import StopSignal
from warren.settings import LifeSettings, load
from warren_scaler.__main__ import main
from warren_scaler.decision import Work
from warren_scaler.depths import Depths
from warren_scaler.fleet import Size
from warren_scaler.loop import Loop
from warren_scaler.settings import ScalerSettings


@dataclass
class FakeFleet:
    """Workers that are a number; draining ones end when told."""

    active: int = 0
    draining: int = 0
    log: list[str] = field(default_factory=list)

    def size(self) -> Size:
        return Size(active=self.active, draining=self.draining)

    def grow(self, count: int) -> int:
        self.active += count
        self.log.append(f"+{count}")
        return count

    def drain(self, count: int) -> None:
        self.active -= count
        self.draining += count
        self.log.append(f"-{count}")


class World:
    """A loop with everything around it under the test's hand."""

    def __init__(self, **settings: int) -> None:
        self.now = 100.0
        self.work: Work | None = Work(ready=0, unacked=0)
        self.fleet = FakeFleet()
        self.registry = CollectorRegistry()
        chosen = load(ScalerSettings, **({"max": 4, "jobs_per_worker": 10, "stable_seconds": 5} | settings))
        self.loop = Loop(self.fleet, lambda: self.work, chosen, clock=lambda: self.now, registry=self.registry)

    def step(self, ready: int, unacked: int, seconds: float = 1.0) -> None:
        self.now += seconds
        self.work = Work(ready=ready, unacked=unacked)
        self.loop.step()


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

    assert world.fleet.log == ["+4", "-4"]


def test_while_there_is_work_one_worker_drains_at_a_time() -> None:
    world = World()
    world.step(ready=40, unacked=0)
    for _ in range(10):
        world.step(ready=0, unacked=5)
    while_the_first_drains = list(world.fleet.log)

    world.fleet.draining = 0
    world.step(ready=0, unacked=5)

    assert while_the_first_drains == ["+4", "-1"]
    assert world.fleet.log == ["+4", "-1", "-1"]


def test_the_last_worker_stays_while_a_job_runs() -> None:
    world = World()
    world.step(ready=1, unacked=0)

    for _ in range(20):
        world.step(ready=0, unacked=1)

    assert world.fleet.log == ["+1"]


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
    world.fleet.active = 3

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
    [("WARREN_SCALER_MIN", "5"), ("WARREN_SCALER_JOBS_PER_WORKER", "0"), ("WARREN_SCALER_INTERVAL_SECONDS", "soon")],
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
