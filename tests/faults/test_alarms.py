"""F5 and F6: the broker's disk and memory alarms, under load."""

from __future__ import annotations

import httpx
import pytest

from faults.checker import Bounds
from faults.control import control
from faults.load import Sort
from faults.recovery import standstill_seconds
from faults.stage import PREFETCH, Stage
from waiting import eventually

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("fault", "raising", "clearing"),
    [
        pytest.param(
            "F5 disk alarm",
            ("set_disk_free_limit", str(10**15)),
            ("set_disk_free_limit", "50MB"),
            marks=pytest.mark.full,
        ),
        pytest.param("F6 memory alarm", ("set_vm_memory_high_watermark", "0"), ("set_vm_memory_high_watermark", "0.4")),
    ],
    ids=["disk", "memory"],
)
def test_submits_are_refused_during_an_alarm_and_taken_after_it(
    stage: Stage, fault: str, raising: tuple[str, ...], clearing: tuple[str, ...]
) -> None:
    stage.start_server()
    stage.start_worker()

    with stage.load():
        stage.wait_more_effects(200)
        stage.fault(fault)
        control(stage.broker, *raising)
        try:
            eventually(lambda: stage.history.count("refused") > 400, 40, 0.2)
            answer = eventually(lambda: refusal(stage), 40, 0.1)
            # The broker tells only connections that publish: a process that had no submit yet does not know.
            eventually(lambda: httpx.get(f"{stage.stack.url}/readyz", timeout=15).status_code == 503, 20, 0.1)
        finally:
            cleared_at = stage.fault("the alarm is over")
            control(stage.broker, *clearing)
        accepted = stage.history.count("accepted")
        eventually(lambda: stage.history.count("accepted") > accepted + 400, 40, 0.1)

    assert answer is not None
    assert answer.json()["type"] == "/problems/broker-blocked"
    assert int(answer.headers["Retry-After"]) > 0
    stage.finish(
        fault,
        bounds=Bounds(faults=1, in_flight=PREFETCH, recovery_seconds=10),
        recovery_seconds=standstill_seconds(stage.history.lines(), "accepted", cleared_at),
        note="recovery = first job accepted after the alarm",
    )


def refusal(stage: Stage) -> httpx.Response | None:
    """Submit one job; return the answer when it is refused.

    A server process that had no submit yet learns of the alarm by this one, and cannot tell what becomes of it.
    """
    job = Sort(task="fault.quick")
    key = f"alarm-{stage.history.count('sent')}"
    stage.history.add("sent", key, task=job.task, expect=job.expect, delay=None)
    body = {"task": job.task, "arguments": {"key": key}}
    answer = httpx.post(f"{stage.stack.url}/v1/jobs", json=body, timeout=15)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        stage.history.add("refused", key)
        return answer
    assert answer.status_code == httpx.codes.GATEWAY_TIMEOUT, answer.text
    stage.history.add("unknown", key)
    return None
