"""The built-in scaler on a real cluster: one step up, no busy worker killed on the way down, a leader that dies.

Needs the charts warren-rabbitmq, warren-topology and warren in the namespace WARREN_E2E_NAMESPACE, the latter with
tests/e2e/scaler-values.yaml: a set `default` of at most 20 workers, one job each, and the task `nap`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from waiting import eventually

# Read before the environment is cleared for each test.
ENVIRONMENT = dict(os.environ)
NAMESPACE = ENVIRONMENT.get("WARREN_E2E_NAMESPACE", "")
SET = "warren-worker-default"
SCALER = "app.kubernetes.io/component=scaler"

pytestmark = [
    pytest.mark.skipif(not NAMESPACE, reason="WARREN_E2E_NAMESPACE names no namespace with the charts installed"),
    pytest.mark.timeout(600),
]


def kubectl(*words: str) -> str:
    done = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def found(*words: str) -> Any:
    return json.loads(kubectl("get", *words, "--output", "json"))


@dataclass
class Watch:
    """What happened to the Deployment's replicas: each value once, with its time."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def run(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() and (not self.seen or self.seen[-1][1] != int(line)):
                self.seen.append((time.time(), int(line)))

    def values(self, since: float) -> list[int]:
        return [value for at, value in self.seen if at >= since]


@pytest.fixture
def watch() -> Iterator[Watch]:
    command = ["kubectl", "--namespace", NAMESPACE, "get", "deployment", SET, "--watch"]
    with subprocess.Popen(
        [*command, "--output", r"jsonpath={.spec.replicas}{'\n'}"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        watched = Watch()
        thread = threading.Thread(target=watched.run, args=(process,), daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            process.terminate()
            thread.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    command = ["kubectl", "--namespace", NAMESPACE, "port-forward", "--address", "127.0.0.1", "service/warren-server"]
    with subprocess.Popen(
        [*command, ":80"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert port, f"kubectl port-forward says {line!r}"
            with httpx.Client(base_url=f"http://127.0.0.1:{port.group(1)}", trust_env=False, timeout=30) as client:
                yield client
        finally:
            process.terminate()


@pytest.fixture(autouse=True)
def idle() -> None:
    """Wait for the fleet to be at rest: no pods."""
    eventually(lambda: replicas() == 0 and not workers(), 240, 1)


def replicas() -> int:
    return int(found("deployment", SET)["spec"]["replicas"])


def workers() -> list[Any]:
    return list(found("pods", "--selector", "app.kubernetes.io/component=worker")["items"])


def running_pods() -> int:
    return sum(
        any("running" in status["state"] for status in pod["status"].get("containerStatuses", [])) for pod in workers()
    )


def submit(server: httpx.Client, count: int, seconds: float) -> list[str]:
    jobs = [{"task": "nap", "arguments": {"seconds": seconds}}] * count
    answer = server.post("/v1/jobs/batch", json={"jobs": jobs})
    assert answer.status_code in (200, 202, 207), answer.text
    items = answer.json()["jobs"]
    assert all("id" in item for item in items), items[0]
    return [item["id"] for item in items]


def job(server: httpx.Client, job_id: str) -> Any:
    return server.get(f"/v1/jobs/{job_id}").json()


def all_done(server: httpx.Client, jobs: list[str]) -> list[Any]:
    """Return all jobs once each has ended."""
    ended = {"succeeded", "dead", "cancelled", "expired"}
    records = [job(server, job_id) for job_id in jobs]
    return records if all(record["state"] in ended for record in records) else []


def events(reason: str, since: float) -> list[str]:
    return [
        event["message"]
        for event in found("events")["items"]
        if event["reason"] == reason
        and event["source"].get("component") == "warren-scaler"
        and datetime.fromisoformat(event["lastTimestamp"]).timestamp() >= int(since)
    ]


def leader() -> str:
    return str(found("lease", "warren-scaler")["spec"]["holderIdentity"])


def kill(pod: str) -> None:
    """End a pod's process without a warning where it is one of this machine, else delete the pod by force."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"HOSTNAME={pod}".encode() in environment:
            os.kill(int(folder.name), signal.SIGKILL)
            told("killed", "SIGKILL")
            return
    kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    told("killed", "deleted by force")


def told(name: str, value: object) -> None:
    print(f"{name}: {value}")


def test_a_burst_takes_the_fleet_from_none_to_all_in_one_patch(server: httpx.Client, watch: Watch) -> None:
    eventually(lambda: watch.seen)
    begun = time.time()
    jobs = submit(server, 400, 2)
    accepted = time.time()

    eventually(lambda: watch.values(begun), 30)
    patched = time.time()
    eventually(lambda: running_pods() == 20, 180, 0.5)
    up = time.time()
    records = eventually(lambda: all_done(server, jobs), 300, 5)

    assert watch.values(begun)[0] == 20
    waits = sorted(record["wait_seconds"] for record in records)
    told("accepted after", round(accepted - begun, 1))
    told("one patch 0 to 20 after", round(patched - begun, 1))
    told("20 pods run after", round(up - begun, 1))
    told("p95 wait", round(waits[int(len(waits) * 0.95)], 1))
    assert {record["state"] for record in records} == {"succeeded"}
    assert {record["attempt"] for record in records} == {1}


def test_scaling_in_with_long_jobs_running_interrupts_none(server: httpx.Client, watch: Watch) -> None:
    begun = time.time()
    short = submit(server, 15, 5)
    long = submit(server, 5, 90)
    eventually(lambda: running_pods() == 20, 180, 0.5)
    eventually(lambda: all_done(server, short), 180, 2)

    eventually(lambda: replicas() <= 8, 120, 1)
    halfway = [job(server, job_id)["state"] for job_id in long]
    records = eventually(lambda: all_done(server, long), 200, 2)
    eventually(lambda: replicas() == 0, 120, 1)

    told("replicas over time", watch.values(begun))
    told("states of the long jobs while the fleet shrank", halfway)
    assert halfway == ["running"] * 5
    shrunk = watch.values(begun)
    shrunk = shrunk[shrunk.index(20) :]
    # Five jobs run to the end: never fewer pods than that until the last step.
    assert min(shrunk[:-1]) >= 5
    interrupted = [record for record in records if record["attempt"] != 1 or len(record["attempts"]) != 1]
    told("interrupted", len(interrupted))
    assert interrupted == []
    assert {record["state"] for record in records} == {"succeeded"}


def test_another_leads_within_20_seconds_of_the_leaders_death_and_nothing_is_patched_twice(
    server: httpx.Client, watch: Watch
) -> None:
    before = leader()
    submitted = submit(server, 5, 30)
    eventually(lambda: replicas() == 5, 30, 0.5)
    died = time.time()
    kill(before.partition("_")[0])
    submitted += submit(server, 7, 30)

    eventually(lambda: replicas() == 12, 60, 0.5)
    decided = time.time()
    records = eventually(lambda: all_done(server, submitted), 300, 5)

    told("next decision after", round(decided - died, 1))
    assert decided - died <= 20
    assert leader() != before
    assert watch.values(died)[0] == 12
    assert {record["attempt"] for record in records} == {1}


def test_replicas_set_by_hand_are_put_back_with_an_event(watch: Watch) -> None:
    begun = time.time()
    kubectl("scale", "deployment", SET, "--replicas=3")
    eventually(lambda: events("ReplicasChanged", begun), 30, 1)
    eventually(lambda: replicas() == 0, 120, 1)

    told("put back after", round(time.time() - begun, 1))
    assert "somebody else set replicas from 0 to 3" in events("ReplicasChanged", begun)[0]


def test_a_paused_set_is_scaled_by_hand_alone(server: httpx.Client) -> None:
    kubectl("annotate", "deployment", SET, "warren.dev/paused=true")
    try:
        kubectl("scale", "deployment", SET, "--replicas=1")
        jobs = submit(server, 6, 3)
        eventually(lambda: all_done(server, jobs), 120, 1)
        by_hand = replicas()
    finally:
        kubectl("annotate", "deployment", SET, "warren.dev/paused-")

    assert by_hand == 1
