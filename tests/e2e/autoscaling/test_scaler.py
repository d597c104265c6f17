"""Warren's scaler by itself: one step up, no busy worker killed on the way down, a leader that dies, other hands."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.autoscaling.figures import Book
from e2e.autoscaling.fleet import KedaFleet, ScalerFleet
from e2e.autoscaling.jobs import Jobs, interrupted, moment
from e2e.autoscaling.watching import Watch
from e2e.commands import kubectl
from e2e.installation import Installation
from e2e.namespaces import Namespace
from waiting import eventually

pytestmark = pytest.mark.usefixtures("environment", "alone")

UNTOUCHED_SECONDS = 20.0
"""Ten looks of the scaler."""


@pytest.fixture
def namespace(scaled: Installation) -> Namespace:
    return scaled.namespace


@pytest.fixture
def watch(builtin: ScalerFleet, alone: None) -> Iterator[Watch]:
    """The set at work, and what is seen of it."""
    builtin.engage()
    with builtin.watch() as seen:
        eventually(lambda: seen.replicas)
        yield seen


def told(name: str, value: object) -> None:
    print(f"{name}: {value}")


def events(namespace: Namespace, reason: str, since: float, deployment: str) -> list[dict[str, Any]]:
    return [
        event
        for event in namespace.items("events")
        if event["reason"] == reason
        and event["source"].get("component") == "warren-scaler"
        and event["involvedObject"]["name"] == deployment
        and datetime.fromisoformat(event["lastTimestamp"]).timestamp() >= int(since)
    ]


def leader(namespace: Namespace) -> str:
    return str(namespace.get("lease", "warren-scaler")["spec"]["holderIdentity"])


def kill(namespace: Namespace, pod: str) -> str:
    """End a pod's process without a warning where it is one of this machine, else delete the pod by force."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"HOSTNAME={pod}".encode() in environment:
            os.kill(int(folder.name), signal.SIGKILL)
            return "SIGKILL"
    kubectl("--namespace", namespace.name, "delete", "pod", pod, "--grace-period=0", "--force")
    return "deleted by force"


def test_a_burst_takes_the_fleet_from_none_to_all_in_one_patch(builtin: ScalerFleet, watch: Watch, jobs: Jobs) -> None:
    began = time.time()
    submitted = jobs.submit(builtin.queue, 400, 2)

    eventually(lambda: watch.values(began), 30)
    records = jobs.finished(builtin.queue, submitted, 300)

    assert watch.values(began)[0] == 20
    assert {record["state"] for record in records} == {"succeeded"}
    assert {record["attempt"] for record in records} == {1}


def test_scaling_in_with_long_jobs_running_interrupts_none(builtin: ScalerFleet, watch: Watch, jobs: Jobs) -> None:
    builtin.annotate(stabilization_seconds=10, expected_job_seconds=30)
    began = time.time()
    short = jobs.submit(builtin.queue, 15, 5)
    long = jobs.submit(builtin.queue, 5, 90)
    eventually(lambda: watch.running() == 20, 180, 0.5)
    jobs.finished(builtin.queue, short, 180)

    eventually(lambda: watch.replicas[-1][1] <= 8, 120, 1)
    halfway = [job["state"] for job in jobs.records(builtin.queue, long)]
    records = jobs.finished(builtin.queue, long, 200)
    eventually(lambda: builtin.replicas() == 0, 120, 1)

    told("replicas over time", watch.values(began))
    told("states of the long jobs while the fleet shrank", halfway)
    assert halfway == ["running"] * 5
    first_end = min(moment(record["finished_at"]) for record in records)
    shrunk = [value for at, value in watch.replicas if began <= at <= first_end]
    # Five jobs run: never fewer pods than that until one ends.
    assert min(shrunk[shrunk.index(20) :]) == 5
    assert interrupted(records) == []
    assert {(record["attempt"], len(record["attempts"])) for record in records} == {(1, 1)}
    assert {record["state"] for record in records} == {"succeeded"}


def test_another_leads_within_20_seconds_of_the_leaders_death_and_nothing_is_patched_twice(
    namespace: Namespace, builtin: ScalerFleet, watch: Watch, jobs: Jobs, book: Book
) -> None:
    # At most twelve, for the scaler counts a job twice that a worker has begun since the broker counted.
    builtin.annotate(expected_job_seconds=30, max=12)
    before = leader(namespace)
    began = time.time()
    submitted = jobs.submit(builtin.queue, 5, 30)
    eventually(lambda: watch.values(began)[-1:] == [5], 30, 0.1)
    died = time.time()
    how = kill(namespace, before.partition("_")[0])
    submitted += jobs.submit(builtin.queue, 7, 30)

    eventually(lambda: watch.values(died)[-1:] == [12], 60, 0.1)
    decided = watch.replicas[-1][0]
    records = jobs.finished(builtin.queue, submitted, 300)
    patches = events(namespace, "ScaledUp", began, builtin.deployment)
    after = leader(namespace)

    found = {"decided": round(decided - died, 1), "replicas": watch.values(died), "killed_by": how}
    book.put("leader", "scaler", found)
    assert decided - died <= 20
    assert after != before
    assert found["replicas"] == [12]
    counts = {one["message"].partition(" replicas")[0]: one.get("count", 1) for one in patches}
    assert (counts, len(patches)) == ({"0 to 5": 1, "5 to 12": 1}, 2)
    assert {record["attempt"] for record in records} == {1}


def test_replicas_set_by_hand_are_put_back_with_an_event(
    namespace: Namespace, builtin: ScalerFleet, watch: Watch, book: Book
) -> None:
    builtin.annotate(stabilization_seconds=10)
    began = time.time()
    builtin.scale(3)
    eventually(lambda: events(namespace, "ReplicasChanged", began, builtin.deployment), 30, 1)
    eventually(lambda: builtin.replicas() == 0, 120, 1)

    book.put("by_hand", "scaler", {"put_back": round(time.time() - began, 1), "replicas": watch.values(began)})
    (event, *_) = events(namespace, "ReplicasChanged", began, builtin.deployment)
    assert "somebody else set replicas from 0 to 3" in event["message"]


def test_a_paused_set_is_scaled_by_hand_alone(builtin: ScalerFleet, watch: Watch, jobs: Jobs) -> None:
    builtin.annotate(paused="true")
    builtin.scale(1)
    submitted = jobs.submit(builtin.queue, 6, 3)

    jobs.finished(builtin.queue, submitted, 120)

    assert watch.values()[-1] == 1
    assert max(watch.values()) == 1


def test_a_set_without_an_autoscaler_keeps_the_number_it_was_given(
    namespace: Namespace, plain: KedaFleet, builtin: ScalerFleet, watch: Watch, book: Book
) -> None:
    builtin.annotate(paused="true")
    began = time.time()
    with plain.watch() as other:
        for one in (plain, builtin):
            one.scale(3)
        eventually(lambda: other.running() == 3 and watch.running() == 3, 60, 0.5)
        # Nothing is to happen, and that has no end to wait for.
        time.sleep(UNTOUCHED_SECONDS)
        kept = {"keda-default": other.replicas[-1][1] == 3, "scaler": watch.replicas[-1][1] == 3}

    for mode, stayed in kept.items():
        book.put("by_hand_off", mode, {"stayed": stayed})
    assert all(kept.values())
    assert events(namespace, "ReplicasChanged", began, builtin.deployment) == []
