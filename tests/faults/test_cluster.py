"""F3, F4 and F12: a cluster of three loses its leader, two nodes, its unity, and every node in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.checker import Bounds
from faults.cluster import Cluster
from faults.nodes import vhost_of
from faults.recovery import standstill_seconds
from faults.report import Report
from faults.stage import PREFETCH, Stage
from waiting import eventually
from warren.topology import queue_name

pytestmark = [pytest.mark.full, pytest.mark.timeout(400)]
WORKERS = 2
QUEUE = queue_name("faults")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def stage(tmp_path: Path, cluster: Cluster, report: Report) -> Iterator[Stage]:
    cluster.start()
    with Stage(tmp_path, cluster, report) as stage:
        stage.start_server()
        for _ in range(WORKERS):
            stage.start_worker()
        yield stage


def test_the_loss_of_the_leader_stops_submits_for_seconds_only(stage: Stage, cluster: Cluster) -> None:
    with stage.load():
        stage.wait_more_effects(200)
        leader = cluster.leader(vhost_of(stage.settings), QUEUE)
        killed_at = stage.fault(f"SIGKILL of the leader, {leader.name}")
        leader.kill()
        accepted = stage.history.count("accepted")
        eventually(lambda: stage.history.count("accepted") > accepted + 1000, 60, 0.2)
        standstill = standstill_seconds(stage.history.lines(), "accepted", killed_at)
        stage.fault("the node is back")
        leader.start()
        stage.wait_more_effects(400)

    stage.finish(
        "F3 SIGKILL of the leader, 1 of 3",
        bounds=Bounds(faults=1, in_flight=WORKERS * PREFETCH, crashes=1, recovery_seconds=15),
        recovery_seconds=standstill,
        note="recovery = longest time without a job accepted",
    )


def test_nothing_is_accepted_without_a_majority_and_nothing_is_lost(stage: Stage, cluster: Cluster) -> None:
    with stage.load():
        stage.wait_more_effects(200)
        stage.fault("SIGKILL of 2 of 3 nodes")
        for member in cluster.members[:2]:
            member.kill()
        eventually(lambda: stage.history.count("refused") + stage.history.count("unknown") > 600, 60, 0.2)
        back_at = stage.fault("the nodes are back")
        for member in cluster.members[:2]:
            member.begin()
        cluster.start()
        accepted = stage.history.count("accepted")
        eventually(lambda: stage.history.count("accepted") > accepted + 600, 60, 0.2)

    stage.finish(
        "F3 SIGKILL of 2 of 3",
        bounds=Bounds(faults=2, in_flight=WORKERS * PREFETCH, crashes=2, recovery_seconds=60),
        recovery_seconds=standstill_seconds(stage.history.lines(), "accepted", back_at),
        note="recovery from the start of the nodes, their own start included",
    )


def test_a_node_cut_off_from_the_others_costs_no_job(stage: Stage, cluster: Cluster) -> None:
    with stage.load():
        stage.wait_more_effects(200)
        leader = cluster.leader(vhost_of(stage.settings), QUEUE)
        cut_at = stage.fault(f"partition: {leader.name} alone")
        cluster.separate(leader)
        accepted = stage.history.count("accepted")
        eventually(lambda: stage.history.count("accepted") > accepted + 400, 90, 0.2)
        stage.fault("the partition is over")
        cluster.rejoin()
        stage.wait_more_effects(400)

    stage.finish(
        "F4 partition between brokers, leader alone",
        bounds=Bounds(faults=2, in_flight=WORKERS * PREFETCH, crashes=2, recovery_seconds=60),
        recovery_seconds=standstill_seconds(stage.history.lines(), "accepted", cut_at),
        note="recovery = longest time without a job accepted",
    )


def test_a_rolling_restart_of_the_brokers_costs_no_job(stage: Stage, cluster: Cluster) -> None:
    with stage.load():
        stage.wait_more_effects(200)
        began_at = stage.fault("rolling restart")
        for member in cluster.members:
            member.stop()
            member.start()
            cluster.start()
            stage.wait_more_effects(200)

    stage.finish(
        "F12 rolling restart of 3 brokers",
        bounds=Bounds(faults=3, in_flight=WORKERS * PREFETCH, crashes=3, recovery_seconds=15),
        recovery_seconds=standstill_seconds(stage.history.lines(), "accepted", began_at),
        note="recovery = longest time without a job accepted",
    )
