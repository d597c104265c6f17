"""Schedules and ticks in SQLite and PostgreSQL, with several servers at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from postgres import PrivatePostgres
from processes import free_port
from warren_server.schedules.catch_up import plan
from warren_server.schedules.schedule import Definition, Schedule, put, set_paused
from warren_server.settings import StoreSettings
from warren_server.store.engine import Database
from warren_server.store.schedules import ScheduleStore
from warren_server.store.ticks import Result, Tick, TickStore

SECONDLY = Definition(
    interval_seconds=1,
    start_ms=1000,
    catch_up="all",
    task="greet",
    arguments={"cmd": "ü\ud800\x00"},
    options={"priority": 1},
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(free_port())
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: PrivatePostgres = request.getfixturevalue("postgres")
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.url


@pytest.fixture
def databases(url: str) -> Iterator[list[Database]]:
    """Two servers' views of one store."""
    made = [Database(StoreSettings.model_validate({"url": url})) for _ in range(2)]
    yield made
    for database in made:
        database.close()


def make(store: ScheduleStore, name: str = "a", definition: Definition = SECONDLY, now_ms: int = 0) -> Schedule:
    _, made = store.edit(name, lambda old: put(old, name, definition, None, now_ms))
    assert made is not None
    return made


def test_a_schedule_is_kept_as_it_is(databases: list[Database]) -> None:
    mine, theirs = (ScheduleStore(database) for database in databases)
    cron = Definition(
        cron="0 0 * * *", timezone="Europe/Berlin", task="t", paused=True, catch_up="skip", jitter_seconds=5
    )

    made, other = make(mine), make(mine, "b", cron)

    assert theirs.get("a") == made
    assert theirs.all() == [made, other]
    assert theirs.get("c") is None


def test_a_schedule_that_is_removed_takes_its_ticks_along(databases: list[Database]) -> None:
    store, ticks = ScheduleStore(databases[0]), TickStore(databases[1])
    schedule = make(store)
    ticks.claim([(schedule, plan(schedule.timing, "all", 1000, 3500))], 3500, 9000)

    store.edit("a", lambda _old: None)

    assert (store.all(), ticks.last("a", 10)) == ([], [])
    assert ticks.agenda(99_000).left == []


def test_two_who_make_the_same_schedule_make_one(databases: list[Database]) -> None:
    stores = [ScheduleStore(database) for database in databases]
    for database in databases:
        database.migrate()
    both = threading.Barrier(2)

    def race(number: int) -> tuple[Schedule | None, Schedule | None]:
        first = True

        def change(old: Schedule | None) -> Schedule:
            nonlocal first
            # SQLite lets one in after the other, so that the second cannot wait inside for the first.
            if first and not databases[0].sqlite:
                both.wait(10)
            first = False
            return put(old, "a", replace(SECONDLY, jitter_seconds=number), None, number)

        return stores[number].edit("a", change)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(race, range(2)))

    assert sum(old is None for old, _ in results) == 1
    assert stores[0].get("a") in [new for _, new in results]


def test_of_many_servers_that_claim_at_once_each_tick_goes_to_one(databases: list[Database]) -> None:
    names = [f"s{number}" for number in range(5)]
    store = ScheduleStore(databases[0])
    for name in names:
        make(store, name)
    claimed: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()
    start = threading.Barrier(6)

    def serve(number: int) -> None:
        ticks = TickStore(databases[number % 2])
        start.wait(10)
        for now_ms in range(1000, 31_000, 500):
            due = ticks.agenda(now_ms).due
            plans = [(one, plan(one.timing, "all", one.next_ms or 0, now_ms)) for one in due]
            if number % 2:
                plans.reverse()
            _, mine = ticks.claim(plans, now_ms, now_ms + 5000) if plans else (set(), [])
            with lock:
                claimed.update((tick.schedule, tick.tick_ms) for _, tick in mine)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(serve, range(6)))

    assert set(claimed.values()) == {1}
    assert sorted(claimed) == [(name, tick) for name in names for tick in range(1000, 31_000, 1000)]


def test_the_agenda_has_what_is_due_what_was_left_and_what_comes_next(databases: list[Database]) -> None:
    store, ticks = ScheduleStore(databases[0]), TickStore(databases[1])
    late = make(store, "late", replace(SECONDLY, start_ms=2000))
    soon = make(store, "soon", replace(SECONDLY, start_ms=7500))
    make(store, "rests", replace(SECONDLY, paused=True))
    left = make(store, "left")
    _, ((_, tick),) = ticks.claim([(left, plan(left.timing, "all", 1000, 1000))], 1000, 4000)
    store.edit("left", lambda old: old and set_paused(old, paused=True, now_ms=2))

    agenda = ticks.agenda(5000)

    assert list(agenda.due) == [late]
    assert [(schedule.name, one) for schedule, one in agenda.left] == [("left", tick)]
    assert agenda.next_ms == soon.next_ms == 7500


def test_results_are_written_once(databases: list[Database]) -> None:
    schedule, ticks = make(ScheduleStore(databases[0])), TickStore(databases[1])
    _, claimed = ticks.claim([(schedule, plan(schedule.timing, "all", 1000, 3000))], 3000, 9000)
    one, two, three = (tick for _, tick in claimed)

    ticks.settle([
        Result(tick=three, state="claimed", lease_ms=5000, error="the queue is full"),
        Result(tick=one, state="fired", fired_ms=3007),
        Result(tick=two, state="refused", error="no such task"),
    ])  # fmt: skip
    ticks.settle(
        [Result(tick=one, state="refused", error="too late"), Result(tick=three, state="fired", fired_ms=6000)]
    )

    assert ticks.last("a", 2) == [
        replace(three, state="fired", fired_ms=6000, lease_ms=5000),
        replace(two, state="refused", error="no such task"),
    ]
    assert ticks.last("a", 3)[2] == replace(one, state="fired", fired_ms=3007)


def test_a_claim_that_ran_out_is_taken_over_by_one(databases: list[Database]) -> None:
    schedule = make(ScheduleStore(databases[0]))
    stores = [TickStore(database) for database in databases]
    _, ((_, tick),) = stores[0].claim([(schedule, plan(schedule.timing, "all", 1000, 1000))], 1000, 4000)

    def take(store: TickStore) -> bool:
        return store.take_over(tick, 9000)

    with ThreadPoolExecutor(2) as pool:
        taken = list(pool.map(take, stores))

    assert sorted(taken) == [False, True]
    assert stores[0].last("a", 1) == [replace(tick, lease_ms=9000)]


def test_old_ticks_are_pruned_in_either_database(databases: list[Database]) -> None:
    schedule, ticks = make(ScheduleStore(databases[0])), TickStore(databases[1])
    claimed: list[tuple[Schedule, Tick]] = []
    next_ms: int | None = 1000
    while next_ms is not None and next_ms <= 150_000:
        planned = plan(schedule.timing, "all", next_ms, 150_000)
        claimed += ticks.claim([(replace(schedule, next_ms=next_ms), planned)], 1, 2)[1]
        next_ms = planned.next_ms
    ticks.settle([Result(tick=tick, state="fired", fired_ms=1) for _, tick in claimed[:140]])

    assert ticks.prune(150_000) == 40
    assert [tick.tick_ms for tick in ticks.last("a", 1000)] == list(range(150_000, 40_000, -1000))
    assert ticks.prune(10**10) == 100
