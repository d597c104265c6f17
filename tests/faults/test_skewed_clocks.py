"""F9: the clock of a worker or of the server is an hour off."""

from __future__ import annotations

import time
from datetime import datetime

import httpx
import pytest

from faults.checker import Bounds
from faults.load import MIX, Sort
from faults.packages import find_faketime
from faults.stage import Stage

pytestmark = pytest.mark.timeout(600)
HOUR = 3600
DELAYS = (*MIX, Sort(task="fault.quick", share=10, options={"delay": 5}))


@pytest.mark.full
@pytest.mark.parametrize("skew", [HOUR, -HOUR])
@pytest.mark.parametrize("who", ["worker", "server"])
def test_a_clock_an_hour_off_neither_loses_nor_hastens_a_job(stage: Stage, who: str, skew: int) -> None:
    skewed = clock_off(skew)
    stage.start_server(**(skewed if who == "server" else {}))
    stage.start_worker(**(skewed if who == "worker" else {}))

    with stage.load(mix=DELAYS):
        stage.wait_more_effects(800)

    found = httpx.get(f"{stage.stack.url}/v1/jobs", params={"limit": 1, "state": "succeeded"}, timeout=10)
    (job,) = found.json()["jobs"]
    stage.finish(f"F9 clock of the {who} {skew // HOUR:+d} h", bounds=Bounds(faults=0))
    # The fault was what it says: the skewed part's own times are off by an hour.
    told = datetime.fromisoformat(job["submitted_at" if who == "server" else "finished_at"])
    assert abs(told.timestamp() - time.time() - skew) < HOUR / 2


def clock_off(seconds: int) -> dict[str, str]:
    """Return how to start a process whose clock is off; only its time of day, as a wrong clock is."""
    library = find_faketime()
    if library is None:
        pytest.skip("no libfaketime on this machine; Debian, Ubuntu: apt-get install libfaketime")
    return {
        "runner": "skewed_clock",
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
