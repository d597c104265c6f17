"""Calls that are due later: made in order, not made when cancelled, and then not kept either."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from waiting import eventually
from warren_worker.timers import Timers


class Job:
    """Something a call holds on to."""

    def end(self) -> None:
        raise AssertionError("called")


@pytest.fixture
def timers() -> Iterator[Timers]:
    timers = Timers()
    timers.start()
    yield timers
    timers.stop()


def test_calls_are_made_in_the_order_they_are_due(timers: Timers) -> None:
    made: list[str] = []
    timers.after(0.05, lambda: made.append("second"))
    timers.after(0.01, lambda: made.append("first"))

    eventually(lambda: made == ["first", "second"])


def test_a_cancelled_call_is_not_made(timers: Timers) -> None:
    made: list[str] = []
    timers.after(0.01, lambda: made.append("cancelled")).cancel()
    timers.after(0.02, lambda: made.append("kept"))

    eventually(lambda: made)
    assert made == ["kept"]


def test_a_failing_call_stops_no_other(timers: Timers, caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()
    timers.after(0, Job().end)
    timers.after(0.01, called.set)

    assert called.wait(5)
    assert "a timed call failed" in caplog.text


def test_a_call_may_cancel_itself_while_it_is_made(timers: Timers) -> None:
    called = threading.Event()
    timer = timers.after(0.01, lambda: (timer.cancel(), called.set()))

    assert called.wait(5)
    timer.cancel()


def test_what_a_cancelled_call_held_is_let_go(timers: Timers) -> None:
    timers.after(300, lambda: None)
    job = Job()
    seen = weakref.ref(job)
    timer = timers.after(600, job.end)
    del job

    timer.cancel()
    gc.collect()

    assert seen() is None


def test_thousands_of_cancelled_calls_do_not_pile_up(timers: Timers) -> None:
    made = threading.Event()
    first = timers.after(300, lambda: None)

    for _ in range(5000):
        timers.after(600, lambda: None).cancel()
    timers.after(0.01, made.set)

    assert len(timers._due) < 200
    assert first.waits
    assert made.wait(5)
