"""The ticker with a clock of the test's own, on the in-memory transport and SQLite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server_kit import Kit, running
from waiting import eventually
from warren.envelope import decode
from warren.errors import QueueFull
from warren_server.errors import StoreDown
from warren_server.schedules import ticker as ticker_module
from warren_server.schedules.catch_up import job_id, plan
from warren_server.schedules.schedule import Definition, Schedule, put
from warren_server.schedules.ticker import RETRY_SECONDS, UNKNOWN_SECONDS, Ticker
from warren_server.store.ticks import KEEP, KEEP_SECONDS, MAX_OPEN, Result, Tick

LEASE_SECONDS = 5
DAY_MS = 86_400_000


@dataclass
class Clock:
    now_ms: int

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        # Its clock is not the test's.
        made.parts.ticker.stop()
        yield made


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at a whole second of yesterday."""
    return Clock(time.time_ns() // 1_000_000_000 * 1000 - DAY_MS)


def server(kit: Kit, clock: Clock) -> Ticker:
    parts = kit.parts
    return Ticker(
        ticks=parts.ticks,
        jobs=parts.jobs,
        submitter=parts.submitter,
        tasks=parts.config.tasks,
        ready=lambda: parts.checks()["broker"],
        lease_seconds=LEASE_SECONDS,
        clock=clock,
    )


def add(kit: Kit, clock: Clock, name: str = "every", **definition: Any) -> Schedule:
    said = {"interval_seconds": 1, "task": "greet", "arguments": {"cmd": "hey"}, "catch_up": "all", **definition}
    _, made = kit.parts.schedules.edit(name, lambda old: put(old, name, Definition(**said), None, clock()))
    assert made is not None
    return made


def fired(kit: Kit, name: str = "every") -> list[Tick]:
    """Return the ticks that fired, the first in front."""
    return [tick for tick in reversed(kit.parts.ticks.last(name, 10_000)) if tick.state == "fired"]


def queued_ids(kit: Kit, queue: str = "default") -> list[str]:
    return [decode(message).id for message in kit.queued(queue)]


def test_a_due_tick_is_a_job_with_the_ticks_own_id(kit: Kit, clock: Clock) -> None:
    schedule = add(kit, clock, options={"priority": 3, "max_attempts": 2, "timeout": 5.0, "expires_in": 60})
    ticker = server(kit, clock)

    ticker.step()
    clock.advance(1.25)
    ticker.step()

    (tick,) = fired(kit)
    (job,) = [decode(message) for message in kit.queued()]
    assert tick.tick_ms == schedule.created_ms + 1000
    assert job.id == tick.job == job_id("every", schedule.created_ms, tick.tick_ms)
    assert (job.body, job.priority, job.max_attempts, job.timeout_seconds) == (b'{"cmd":"hey"}', 3, 2, 5)
    assert (job.enqueued_ms, job.expires_ms) == (clock(), clock() + 60_000)
    assert kit.client.get(f"/v1/jobs/{job.id}").json["state"] == "queued"
    assert (tick.fired_ms, tick.error) == (clock(), None)


def test_the_step_says_when_the_next_tick_is_due(kit: Kit, clock: Clock) -> None:
    ticker = server(kit, clock)
    assert ticker.step() == 1.0

    add(kit, clock)
    clock.advance(0.4)

    assert ticker.step() == pytest.approx(0.6)


def test_two_servers_fire_each_tick_once(kit: Kit, clock: Clock) -> None:
    schedule = add(kit, clock)
    first, second = server(kit, clock), server(kit, clock)

    for turn in range(40):
        (first if turn % 3 else second).step()
        second.step()
        first.step()
        clock.advance(0.5)

    ticks = [tick.tick_ms for tick in fired(kit)]
    assert ticks == list(range(schedule.created_ms + 1000, clock() - 499, 1000))
    assert queued_ids(kit) == [tick.job for tick in fired(kit)]


def test_a_plan_that_another_server_was_faster_with_claims_nothing(kit: Kit, clock: Clock) -> None:
    schedule = add(kit, clock)
    clock.advance(2)
    assert schedule.next_ms is not None
    planned = plan(schedule.timing, "all", schedule.next_ms, clock())

    moved, mine = kit.parts.ticks.claim([(schedule, planned)], clock(), clock() + 5000)
    theirs = kit.parts.ticks.claim([(schedule, planned)], clock(), clock() + 5000)

    assert (moved, len(mine), theirs) == ({"every"}, 2, (set(), []))


@pytest.mark.parametrize("how", ["changed", "paused", "removed", "made anew"])
def test_a_schedule_that_was_changed_since_it_was_read_claims_nothing(kit: Kit, clock: Clock, how: str) -> None:
    schedule = add(kit, clock)
    clock.advance(2)
    assert schedule.next_ms is not None
    planned = plan(schedule.timing, "all", schedule.next_ms, clock())

    if how == "changed":
        add(kit, clock, arguments={"cmd": "hello"})
    elif how == "paused":
        kit.client.post("/v1/schedules/every/pause")
    else:
        kit.client.delete("/v1/schedules/every")
    if how == "made anew":
        add(kit, clock)

    assert kit.parts.ticks.claim([(schedule, planned)], clock(), clock() + 5000) == (set(), [])


def test_a_tick_claimed_before_is_not_claimed_again_when_times_move_back(kit: Kit, clock: Clock) -> None:
    schedule = add(kit, clock)
    ticker = server(kit, clock)
    clock.advance(2)
    ticker.step()

    kit.parts.schedules.edit("every", lambda _old: schedule)
    ticker.step()

    assert len(fired(kit)) == len(queued_ids(kit)) == 2


def test_a_server_that_dies_after_its_claim_is_followed_by_another(
    kit: Kit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(kit, clock)
    dying, other = server(kit, clock), server(kit, clock)
    clock.advance(1)
    with monkeypatch.context() as patch:
        patch.setattr(kit.parts.submitter, "submit_many", killed)
        with pytest.raises(Killed):
            dying.step()

    other.step()
    assert queued_ids(kit) == []
    clock.advance(LEASE_SECONDS)
    other.step()

    (first, *_) = fired(kit)
    assert queued_ids(kit).count(first.job) == 1
    assert len(queued_ids(kit)) == len(fired(kit)) == 1 + LEASE_SECONDS


def test_a_server_that_dies_between_publish_and_mark_leaves_no_second_job(
    kit: Kit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(kit, clock)
    dying, other = server(kit, clock), server(kit, clock)
    clock.advance(1)
    with monkeypatch.context() as patch:
        patch.setattr(kit.parts.ticks, "settle", killed)
        with pytest.raises(Killed):
            dying.step()
    (job,) = queued_ids(kit)
    assert fired(kit) == []

    clock.advance(LEASE_SECONDS)
    other.step()

    assert queued_ids(kit).count(job) == 1
    assert fired(kit)[0].job == job


def test_of_two_servers_one_takes_over(kit: Kit, clock: Clock) -> None:
    add(kit, clock)
    clock.advance(1)
    (schedule,) = kit.parts.ticks.agenda(clock()).due
    assert schedule.next_ms is not None
    planned = plan(schedule.timing, "all", schedule.next_ms, clock())
    kit.parts.ticks.claim([(schedule, planned)], clock(), clock() + 1000)
    clock.advance(2)
    ((_, left),) = kit.parts.ticks.agenda(clock()).left

    assert kit.parts.ticks.take_over(left, clock() + 5000)
    assert not kit.parts.ticks.take_over(left, clock() + 5000)


@pytest.mark.parametrize(("policy", "number"), [("skip", 0), ("one", 1), ("all", 4)])
def test_ticks_missed_while_the_broker_is_away_are_for_the_policy(
    kit: Kit, clock: Clock, policy: str, number: int
) -> None:
    add(kit, clock, interval_seconds=60, catch_up=policy)
    ticker = server(kit, clock)
    kit.transport.disconnect()
    for _ in range(9):
        clock.advance(30)
        assert ticker.step() == 1.0
    assert lag() == pytest.approx(9 * 30 - 60)

    kit.transport.reconnect()
    eventually(lambda: kit.parts.checks()["broker"])
    ticker.step()

    assert len(queued_ids(kit)) == len(fired(kit)) == number


def test_a_store_that_is_away_costs_no_tick(kit: Kit, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    add(kit, clock)
    ticker = server(kit, clock)
    clock.advance(3)
    with monkeypatch.context() as patch:
        patch.setattr(kit.parts.ticks, "claim", down)
        with pytest.raises(StoreDown):
            ticker.step()

    ticker.step()

    assert len(fired(kit)) == 3


def test_a_tick_whose_task_is_unknown_is_left_to_others_then_refused(kit: Kit, clock: Clock) -> None:
    add(kit, clock, interval_seconds=3600, task="not.here")
    ticker = server(kit, clock)
    clock.advance(3600 + UNKNOWN_SECONDS - 1)
    assert ticker.step() == 1.0
    assert kit.parts.ticks.last("every", 10) == []

    clock.advance(1)
    ticker.step()

    (tick,) = kit.client.get("/v1/schedules/every").json["last_ticks"]
    assert tick["state"] == "refused"
    assert "'not.here' is not known" in tick["error"]


@pytest.mark.parametrize("wrong", [{"arguments": {"cmd": 1}}, {"options": {"queue": "nowhere"}}])
def test_a_job_that_is_refused_for_good_marks_its_tick_and_the_next_goes_on(
    kit: Kit, clock: Clock, wrong: dict[str, Any]
) -> None:
    add(kit, clock, **wrong)
    ticker = server(kit, clock)
    clock.advance(1)
    ticker.step()
    add(kit, clock)
    clock.advance(1)
    ticker.step()

    last = kit.client.get("/v1/schedules/every").json["last_ticks"]
    assert [tick["state"] for tick in last] == ["fired", "refused"]
    assert ("cmd" if "arguments" in wrong else "nowhere") in last[1]["error"]


def test_a_full_queue_lets_a_tick_wait_and_it_fires_under_the_same_id(
    kit: Kit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = add(kit, clock, interval_seconds=3600)
    ticker = server(kit, clock)
    clock.advance(3600)
    with monkeypatch.context() as patch:
        patch.setattr(kit.transport, "publish", full)
        ticker.step()
    (waiting,) = kit.parts.ticks.last("every", 10)
    assert (waiting.state, waiting.error) == (
        "claimed",
        "The broker refused the message because the queue is at its limit.",
    )

    clock.advance(RETRY_SECONDS)
    ticker.step()

    (tick,) = fired(kit)
    assert (tick.tick_ms, tick.error, queued_ids(kit)) == (schedule.next_ms, None, [tick.job])


def test_while_many_ticks_wait_none_is_claimed(kit: Kit, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    add(kit, clock)
    ticker = server(kit, clock)
    clock.advance(MAX_OPEN + 20)
    with monkeypatch.context() as patch:
        patch.setattr(kit.transport, "publish", full)
        for _ in range(3):
            ticker.step()
    assert len(kit.parts.ticks.last("every", 1000)) == MAX_OPEN

    clock.advance(RETRY_SECONDS)
    while ticker.step() == 0:
        pass

    assert len(set(queued_ids(kit))) == len(queued_ids(kit)) == len(fired(kit)) == MAX_OPEN + 20 + RETRY_SECONDS


def test_missed_ticks_are_fired_in_turns_without_a_pause(
    kit: Kit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticker_module, "MAX_STEP", 150)
    for name in ("a", "b", "c"):
        add(kit, clock, name)
    ticker = server(kit, clock)
    clock.advance(120)

    pauses = [ticker.step()]
    while pauses[-1] == 0:
        pauses.append(ticker.step())

    assert len(pauses) > 3
    assert [len(fired(kit, name)) for name in ("a", "b", "c")] == [120, 120, 120]


def test_jitter_delays_the_job_of_a_tick(kit: Kit) -> None:
    clock = Clock(time.time_ns() // 1_000_000 - 1000)
    add(kit, clock, jitter_seconds=86_400)
    clock.advance(2)

    server(kit, clock).step()

    shown = [kit.client.get(f"/v1/jobs/{tick.job}").json for tick in fired(kit)]
    assert {job["state"] for job in shown} == {"scheduled"}


def test_a_paused_schedule_rests(kit: Kit, clock: Clock) -> None:
    add(kit, clock, paused=True)
    clock.advance(60)

    assert server(kit, clock).step() == 1.0
    assert fired(kit) == []


def test_old_ticks_are_forgotten_but_not_those_on_their_way(kit: Kit, clock: Clock) -> None:
    add(kit, clock)
    add(kit, clock, "old")
    ticks = kit.parts.ticks
    ticker = server(kit, clock)
    clock.advance(KEEP + 30)
    while ticker.step() == 0:
        pass
    claimed = Tick(schedule="old", tick_ms=0, job="x", state="claimed", claimed_ms=0, lease_ms=0)
    (schedule,) = [one for one in kit.parts.schedules.all() if one.name == "every"]
    old = plan(schedule.timing, "all", clock() + 1000, clock() + 1000)
    ticks.claim([(schedule, old)], clock(), clock() + 1000)

    assert ticks.prune(clock()) == 60
    assert ticks.prune(clock()) == 0
    assert [len(ticks.last(name, 1000)) for name in ("every", "old")] == [KEEP + 1, KEEP]
    clock.advance(KEEP_SECONDS + 10)
    assert ticks.prune(clock()) == 2 * KEEP
    assert [tick.state for tick in ticks.last("every", 1000)] == ["claimed"]
    ticks.settle([Result(tick=claimed, state="fired")])
    assert ticks.last("old", 10) == []


def test_the_ticker_prunes_once_a_minute(kit: Kit, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticker_module, "PRUNE_SECONDS", 0.0)
    add(kit, clock)
    ticker = server(kit, clock)
    clock.advance(KEEP + 20)
    while ticker.step() == 0:
        pass
    ticker.step()

    assert len(fired(kit)) == KEEP


def test_the_thread_fires_on_time_and_wakes_for_changes(tmp_path: Path) -> None:
    with running(tmp_path) as kit:
        document = {"interval": 1, "task": "greet", "arguments": {"cmd": "hey"}}
        assert kit.client.put("/v1/schedules/every", json=document).status_code == 201

        eventually(lambda: len(fired(kit)) >= 2)
        kit.client.delete("/v1/schedules/every")

    assert queued_ids(kit)


def test_the_thread_outlives_the_store_and_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ticker_module, "LOOK_SECONDS", 0.01)
    with running(tmp_path) as kit:
        with monkeypatch.context() as patch:
            patch.setattr(kit.parts.ticks, "agenda", down)
            eventually(lambda: "cannot fire schedules" in caplog.text)
            patch.setattr(kit.parts.ticks, "agenda", killed)
            eventually(lambda: "could not fire schedules" in caplog.text)
        kit.client.put("/v1/schedules/every", json={"interval": 1, "task": "greet", "arguments": {"cmd": "hey"}})

        eventually(lambda: fired(kit))


class Killed(Exception):
    pass


def killed(*_args: object, **_kwargs: object) -> Any:
    raise Killed


def down(*_args: object, **_kwargs: object) -> Any:
    raise StoreDown


def full(*_args: object, **_kwargs: object) -> Any:
    raise QueueFull


def lag() -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value("warren_schedule_lag_seconds") or 0.0
