"""The local fleet, on real processes that stand in for workers."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from waiting import eventually
from warren.errors import LocalStackError
from warren_scaler.fleet import Size
from warren_scaler.local import LocalFleet

POLITE = """
    import os, signal, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(os.environ["WARREN_WORKER_NAME"], "is up", flush=True)
    while True:
        signal.pause()
"""
DEAF = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("is up", flush=True)
    while True:
        signal.pause()
"""


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


class Staff:
    """A fleet with its clock and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.fleets: list[LocalFleet] = []

    def fleet(self, code: str) -> LocalFleet:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        self.fleets.append(LocalFleet(command, os.environ, self.folder, clock=self.clock))
        return self.fleets[-1]

    def up(self) -> int:
        return sum("is up" in log.read_text() for log in self.folder.glob("*.log"))


@pytest.fixture
def staff(tmp_path: Path) -> Iterator[Staff]:
    made = Staff(tmp_path)
    yield made
    for fleet in made.fleets:
        for child in [*fleet._active, *fleet._draining]:
            child.kill()


def test_workers_are_named_and_have_a_log_each(staff: Staff) -> None:
    fleet = staff.fleet(POLITE)

    fleet.grow(2)
    eventually(lambda: staff.up() == 2)

    assert fleet.size() == Size(active=2, draining=0)
    assert sorted(log.name for log in staff.folder.glob("*.log")) == ["worker-local-1.log", "worker-local-2.log"]
    assert (staff.folder / "worker-local-2.log").read_text() == "local-2 is up\n"


def test_the_youngest_worker_is_drained_and_its_end_is_no_loss(staff: Staff, caplog: pytest.LogCaptureFixture) -> None:
    fleet = staff.fleet(POLITE)
    fleet.grow(1)
    staff.clock.now += 1
    fleet.grow(1)
    eventually(lambda: staff.up() == 2)

    fleet.drain(1)
    right_after = fleet.size()
    eventually(lambda: fleet.size().draining == 0)

    assert right_after.active == 1
    assert [child.name for child in fleet._active] == ["worker local-1"]
    assert caplog.records == []


def test_a_worker_that_dies_is_reported_with_its_log(staff: Staff, caplog: pytest.LogCaptureFixture) -> None:
    fleet = staff.fleet("import sys; sys.exit('out of coffee')")
    fleet.grow(1)

    eventually(lambda: fleet.size().active == 0)

    assert "worker local-1 ended with status 1" in caplog.text
    assert "out of coffee" in caplog.text


def test_workers_that_do_not_come_up_are_started_ever_more_slowly(staff: Staff) -> None:
    fleet = staff.fleet("raise SystemExit(3)")
    started = []
    for _ in range(3):
        started.append(fleet.grow(1))
        eventually(lambda: fleet.size().active == 0)
        started.append(fleet.grow(1))
        staff.clock.now += 1.1

    assert started == [1, 0, 1, 0, 0, 0]


def test_a_worker_that_dies_after_long_work_is_replaced_at_once(staff: Staff) -> None:
    fleet = staff.fleet(POLITE)
    fleet.grow(1)
    eventually(lambda: staff.up() == 1)
    staff.clock.now += 60

    next(iter(fleet._active)).kill()

    assert fleet.size().active == 0
    assert fleet.grow(1) == 1


def test_stopping_drains_all_workers(staff: Staff) -> None:
    fleet = staff.fleet(POLITE)
    fleet.grow(3)
    eventually(lambda: staff.up() == 3)

    fleet.stop(10)

    assert fleet.size() == Size(active=0, draining=0)


def test_a_worker_that_will_not_end_is_killed_and_named(staff: Staff) -> None:
    fleet = staff.fleet(DEAF)
    fleet.grow(1)
    eventually(lambda: staff.up() == 1)

    with pytest.raises(LocalStackError, match=r"worker local-1 did not end within 0\.1 s"):
        fleet.stop(0.1)

    assert fleet.size() == Size(active=0, draining=0)
