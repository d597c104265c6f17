"""The I/O thread outlives whatever its callbacks do."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from waiting import eventually
from warren.amqp.loop import Loop


def fail() -> None:
    raise ValueError("a bug")


@pytest.fixture
def crashes() -> list[int]:
    return []


@pytest.fixture
def loop(crashes: list[int]) -> Iterator[Loop]:
    loop = Loop(on_crash=lambda: crashes.append(1))
    loop.start()
    yield loop
    loop.call(loop.finish)
    assert loop.join(5)


def test_calls_run_in_order_on_the_loops_own_thread(loop: Loop) -> None:
    seen: list[tuple[int, bool]] = []

    for number in range(100):
        loop.call(lambda number=number: seen.append((number, loop.is_current)))  # type: ignore[misc]

    eventually(lambda: len(seen) == 100)
    assert seen == [(number, True) for number in range(100)]
    assert not loop.is_current


def test_a_call_from_a_call_runs(loop: Loop) -> None:
    done = threading.Event()

    loop.call(lambda: loop.call(done.set))

    assert done.wait(5)


def test_a_call_that_fails_is_logged_and_stops_nothing(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    loop.call(fail)
    loop.call(lambda: loop.later(0.001, fail))
    loop.call(lambda: loop.later(0.01, done.set) and None)

    assert done.wait(5)
    assert [getattr(record, "event", "") for record in caplog.records] == ["broker_callback_failed"] * 2


def test_a_cancelled_timer_does_not_fire(loop: Loop) -> None:
    fired, done = threading.Event(), threading.Event()

    def set_and_cancel() -> None:
        loop.cancel(loop.later(0.001, fired.set))
        loop.later(0.02, done.set)

    loop.call(set_and_cancel)

    assert done.wait(5)
    assert not fired.is_set()


def test_an_exception_inside_pika_is_reported_and_the_loop_goes_on(
    loop: Loop, crashes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    loop.pika.add_callback_threadsafe(fail)
    eventually(lambda: crashes == [1])
    loop.call(done.set)

    assert done.wait(5)
    assert "broker_loop_failed" in [getattr(record, "event", "") for record in caplog.records]


def test_a_loop_that_is_held_up_grows_old_and_young_again(loop: Loop) -> None:
    held = threading.Event()
    loop.call(lambda: held.wait(10) and None)

    eventually(lambda: loop.age_seconds > 0.2)
    held.set()

    eventually(lambda: loop.age_seconds == 0.0)
