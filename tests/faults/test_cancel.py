"""Cancelling: with no worker running, and ten thousand delayed jobs in one call."""

from __future__ import annotations

import time

import httpx
import pytest

from faults.checker import Bounds
from faults.load import Sort, send
from faults.stage import Stage

pytestmark = pytest.mark.timeout(300)
MANY = 10_000
BATCH = 1000
CALL_SECONDS = 5.0


def test_a_cancel_with_no_worker_running_holds_when_they_come(stage: Stage) -> None:
    stage.start_server()
    keys = [f"doomed-{number}" for number in range(20)]
    stage.submit(Sort(task="fault.quick", expect="cancelled"), keys)
    stage.submit(Sort(task="fault.quick"), ["neighbour"])

    stage.fault("cancel with no worker")
    for job in jobs_of(stage, keys):
        answer = httpx.post(f"{stage.stack.url}/v1/jobs/{job}/cancel", json={}, timeout=30)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    stage.start_worker()
    with stage.load():
        stage.wait_more_effects(400)

    stage.finish("cancel, no worker running", bounds=Bounds(), note="20 jobs cancelled, then a worker started")


@pytest.mark.full
def test_ten_thousand_delayed_jobs_are_cancelled_by_one_call(stage: Stage) -> None:
    stage.start_server()
    stage.start_worker()
    doomed = Sort(task="fault.quick", expect="cancelled", options={"delay": 60})
    with httpx.Client(base_url=stage.stack.url, timeout=60, trust_env=False) as client:
        for first in range(0, MANY, BATCH):
            send(client, stage.history, [(f"doomed-{first + number}", doomed) for number in range(BATCH)])

        stage.fault("cancel of 10,000")
        began = time.monotonic()
        answer = client.post("/v1/jobs/cancel", json={"jobs": jobs_of(stage, None)})
        seconds = time.monotonic() - began
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    with stage.load():
        stage.wait_more_effects(400)

    verdict = stage.finish(
        f"cancel of {MANY:,} delayed jobs in one call",
        bounds=Bounds(),
        timeout_seconds=180,
        note=f"the call took {seconds:.2f} s",
    )
    assert seconds < CALL_SECONDS
    assert verdict.accepted >= MANY
    assert not [line for line in stage.history.lines() if line.kind == "start" and line.key.startswith("doomed")]


def jobs_of(stage: Stage, keys: list[str] | None) -> list[str]:
    """Return the ids of accepted jobs, of some keys or of all."""
    wanted = None if keys is None else set(keys)
    return [
        line.job for line in stage.history.lines() if line.kind == "accepted" and (wanted is None or line.key in wanted)
    ]
