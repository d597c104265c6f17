"""The local fleet, on real processes that stand in for workers."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from waiting import eventually
from warren.errors import LocalStackError
from warren_scaler.local import LocalFleet

POLITE = """
    import os, signal, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(os.environ["WARREN_WORKER_NAME"], "is up", flush=True)
    while True:
        signal.pause()
"""
TELLING = """
    import json, os, signal, sys
    from http.server import BaseHTTPRequestHandler, HTTPServer
    class Status(BaseHTTPRequestHandler):
        def do_GET(self):
            told = {"worker": os.environ.get("SAID", os.environ["WARREN_WORKER_NAME"]), "concurrency": 3, "running": 2,
                    "waiting": 1, "oldest_job_seconds": 1.5, "draining": False}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())
    host, _, port = os.environ["WARREN_PROBE_BIND"].partition(":")
    HTTPServer((host, int(port)), Status).serve_forever()
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

    def fleet(self, code: str, **environment: str) -> LocalFleet:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        self.fleets.append(LocalFleet(command, os.environ | environment, self.folder, clock=self.clock))
        return self.fleets[-1]

    def up(self) -> int:
        return sum("is up" in log.read_text() for log in self.folder.glob("*.log"))


@pytest.fixture
def staff(tmp_path: Path) -> Iterator[Staff]:
    made = Staff(tmp_path)
    yield made
    for fleet in made.fleets:
        for worker in fleet._workers:
            worker.child.kill()
        fleet.close()


def names(fleet: LocalFleet) -> list[str]:
    return [member.name for member in fleet.members() if not member.draining]


def test_workers_are_named_and_have_a_log_each(staff: Staff) -> None:
    fleet = staff.fleet(POLITE)

    fleet.grow(2)
    eventually(lambda: staff.up() == 2)

    assert names(fleet) == ["local-1", "local-2"]
    assert sorted(log.name for log in staff.folder.glob("*.log")) == ["worker-local-1.log", "worker-local-2.log"]
    assert (staff.folder / "worker-local-2.log").read_text() == "local-2 is up\n"


def test_a_drained_worker_ends_and_that_is_no_loss(staff: Staff, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    fleet = staff.fleet(POLITE)
    fleet.grow(2)
    eventually(lambda: staff.up() == 2)

    fleet.drain(["local-2"])
    right_after = names(fleet)
    eventually(lambda: len(fleet.members()) == 1)

    assert right_after == names(fleet) == ["local-1"]
    assert caplog.records == []


def test_workers_tell_what_they_do(staff: Staff) -> None:
    fleet = staff.fleet(TELLING)
    fleet.grow(1)

    status = eventually(lambda: fleet.members()[0].status, 20)

    assert (status.worker, status.concurrency, status.running, status.waiting) == ("local-1", 3, 2, 1)
    assert not fleet.members()[0].idle


def test_a_worker_that_does_not_tell_is_not_taken_for_idle(staff: Staff) -> None:
    fleet = staff.fleet(POLITE)
    fleet.grow(1)

    [member] = fleet.members()

    assert (member.status, member.idle) == (None, False)


def test_what_another_program_tells_at_the_workers_port_does_not_count(staff: Staff) -> None:
    fleet = staff.fleet(TELLING, SAID="somebody")
    fleet.grow(1)
    url = fleet._workers[0].status_url
    eventually(lambda: answers(url), 20)

    assert fleet.members()[0].status is None


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_worker_that_dies_is_reported_with_its_log(staff: Staff, caplog: pytest.LogCaptureFixture) -> None:
    fleet = staff.fleet("import sys; sys.exit('out of coffee')")
    fleet.grow(1)

    eventually(lambda: not fleet.members())

    assert "worker local-1 ended with status 1" in caplog.text
    assert "out of coffee" in caplog.text


def test_workers_that_do_not_come_up_are_started_ever_more_slowly(staff: Staff) -> None:
    fleet = staff.fleet("raise SystemExit(3)")
    started = []
    for _ in range(3):
        started.append(fleet.grow(1))
        eventually(lambda: not fleet.members())
        started.append(fleet.grow(1))
        staff.clock.now += 1.1

    assert started == [1, 0, 1, 0, 0, 0]


def test_a_worker_that_dies_after_long_work_is_replaced_at_once(staff: Staff) -> None:
    fleet = staff.fleet(POLITE)
    fleet.grow(1)
    eventually(lambda: staff.up() == 1)
    staff.clock.now += 60

    fleet._workers[0].child.kill()

    assert not fleet.members()
    assert fleet.grow(1) == 1


def test_stopping_drains_all_workers(staff: Staff) -> None:
    fleet = staff.fleet(POLITE)
    fleet.grow(3)
    eventually(lambda: staff.up() == 3)

    fleet.stop(10)

    assert fleet.members() == []


def test_a_worker_that_will_not_end_is_killed_and_named(staff: Staff) -> None:
    fleet = staff.fleet(DEAF)
    fleet.grow(1)
    eventually(lambda: staff.up() == 1)

    with pytest.raises(LocalStackError, match=r"worker local-1 did not end within 0\.1 s"):
        fleet.stop(0.1)

    assert fleet.members() == []
