"""Starting and stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from warren.lifecycle import Closing, StopSignal


@pytest.fixture(autouse=True)
def _restore_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_a_stop(number: signal.Signals) -> None:
    asked: list[bool] = []
    stop = StopSignal(lambda: asked.append(True))
    stop.install()

    os.kill(os.getpid(), number)

    assert stop.wait(5)
    assert stop.requested
    assert asked == [True]


def test_the_second_signal_ends_the_process_at_once() -> None:
    program = (
        "import os, signal\n"
        "from warren.lifecycle import StopSignal\n"
        "stop = StopSignal(); stop.install()\n"
        "os.kill(os.getpid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('still here')\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)

    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, "")


def test_a_signal_never_waits_for_the_thread_it_interrupts() -> None:
    program = (
        "import signal\n"
        "from warren.lifecycle import StopSignal\n"
        "for _ in range(300):\n"
        "    stop = StopSignal()\n"
        "    signal.signal(signal.SIGALRM, lambda *_: stop.request())\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.0005)\n"
        "    while not stop.wait(0):\n"
        "        pass\n"
        "print('all stopped')\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)

    assert ended.stdout == "all stopped\n"


def test_a_stop_may_be_asked_for_many_times_and_from_any_thread() -> None:
    asked: list[bool] = []
    stop = StopSignal(lambda: asked.append(True))

    threads = [threading.Thread(target=stop.request) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()

    assert stop.requested
    assert asked == [True]


def test_waiting_ends_when_the_time_is_up() -> None:
    assert StopSignal().wait(0.01) is False


def test_what_was_opened_is_closed_last_first_and_once() -> None:
    closed: list[str] = []
    closing = Closing()
    closing.add("a", lambda: closed.append("a"))
    closing.add("b", lambda: closed.append("b"))

    closing.close()
    closing.close()

    assert closed == ["b", "a"]


def test_a_step_that_fails_is_logged_and_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[str] = []

    with Closing() as closing:
        closing.add("a", lambda: closed.append("a"))
        closing.add("broken", lambda: 1 / 0)

    assert closed == ["a"]
    assert "could not close broken" in caplog.text
