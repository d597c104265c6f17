"""The scaler's loop over Deployments, on a cluster that acts as a real one may."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from replica_set import SimulatedCluster, SimulatedPod
from warren.errors import KubernetesError, NotPermitted
from warren.lifecycle import StopSignal
from warren_scaler.__main__ import main
from warren_scaler.decision import Work
from warren_scaler.deployments.controller import DEAF_SECONDS, Controller
from warren_scaler.deployments.meters import Meters
from warren_scaler.deployments.plan import ORDER_SECONDS
from warren_scaler.deployments.sets import WorkerSet


class Stage:
    """A controller over a simulated cluster, two seconds a step."""

    def __init__(self, *, seed: int = 1, concurrency: int = 1, may_annotate: bool = True) -> None:
        self.cluster = SimulatedCluster(Random(seed), concurrency=concurrency, may_annotate=may_annotate)
        self.now = 100.0
        self.leading = True
        self.registry = CollectorRegistry()
        self.controller = self.successor()

    def successor(self) -> Controller:
        """Return a scaler that knows nothing yet."""
        self.controller = Controller(
            self.cluster,
            self.cluster.look,
            self.cluster.ask,
            self.cluster,
            leading=lambda: self.leading,
            meters=Meters(self.registry),
            interval_seconds=2.0,
            clock=lambda: self.now,
        )
        return self.controller

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 2.0
            self.controller.step()
            self.cluster.tick()

    def until(self, replicas: int, steps: int = 300) -> None:
        for _ in range(steps):
            if self.cluster.replicas == replicas and len(self.cluster.pod_list) == replicas:
                return
            self.step()
        raise AssertionError(f"{self.cluster.replicas} replicas, {len(self.cluster.pod_list)} pods, not {replicas}")

    def until_done(self, steps: int = 2000) -> None:
        cluster = self.cluster
        for _ in range(steps):
            if not (cluster.queue or cluster.pod_list or cluster.replicas):
                return
            self.step()
        raise AssertionError(f"{len(cluster.queue)} jobs, {cluster.pod_list} of {cluster.replicas} are left")

    def settle(self, count: int, jobs: int = 0) -> None:
        """Put up idle pods, or such as have a job that does not end by itself."""
        self.cluster.replicas = count
        self.cluster.pod_list = [SimulatedPod(name=f"pod-{i}", started=True, ready=True) for i in range(count)]
        for pod in self.cluster.pod_list[:jobs]:
            pod.jobs = [10_000]

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.cluster.events]


def test_a_burst_is_answered_by_one_patch_from_none_to_all() -> None:
    stage = Stage()
    stage.cluster.queue = [1_000] * 400

    stage.step(20)

    assert stage.cluster.scales == [8]
    assert stage.reasons == ["ScaledUp"]


@given(
    seed=st.integers(0, 2**32),
    may_annotate=st.booleans(),
    concurrency=st.sampled_from([1, 3]),
    arrivals=st.lists(
        st.tuples(st.integers(0, 25), st.integers(1, 40), st.integers(1, 60), st.booleans(), st.booleans()),
        min_size=1,
        max_size=6,
    ),
)
@settings(max_examples=150, deadline=None)
def test_no_job_is_ever_interrupted_and_the_fleet_is_never_lower_than_its_busy_pods(
    seed: int, may_annotate: bool, concurrency: int, arrivals: list[tuple[int, int, int, bool, bool]]
) -> None:
    stage = Stage(seed=seed, concurrency=concurrency, may_annotate=may_annotate)
    for jobs, ticks, pause, blind, new_leader in arrivals:
        stage.cluster.queue += [ticks] * jobs
        stage.cluster.blind = blind
        if new_leader:
            stage.successor()
        for _ in range(pause):
            stage.step()

            assert stage.cluster.replicas >= sum(bool(pod.jobs) for pod in stage.cluster.pod_list)
            assert stage.cluster.interrupted == 0
            assert stage.cluster.replicas <= 8
    stage.cluster.blind = False

    stage.until_done()

    assert stage.cluster.interrupted == 0
    assert stage.cluster.done == sum(jobs for jobs, *_ in arrivals)


@pytest.mark.parametrize("may_annotate", [True, False])
def test_idle_pods_go_and_busy_ones_stay(may_annotate: bool) -> None:
    stage = Stage(may_annotate=may_annotate)
    stage.settle(8, jobs=3)

    stage.until(3)
    stage.step(30)

    assert {pod.name for pod in stage.cluster.pod_list} == {"pod-0", "pod-1", "pod-2"}
    assert stage.reasons.count("MarksRefused") == (0 if may_annotate else 1)
    assert "Draining" in stage.reasons


def test_load_that_comes_back_calls_drained_workers_back_and_asks_for_the_rest() -> None:
    stage = Stage()
    stage.settle(4)
    stage.cluster.silence = 0.0
    while not stage.cluster.orders_given:
        stage.step()
    stage.cluster.queue = [1_000] * 6
    stage.step()

    assert [(word, len(workers)) for word, workers in stage.cluster.orders_given] == [("drain", 4), ("undrain", 4)]
    assert stage.cluster.scales == [6]
    stage.step(30)
    assert (stage.cluster.scales, stage.cluster.interrupted) == ([6], 0)


def test_without_depths_nothing_is_taken_away() -> None:
    stage = Stage()
    stage.settle(5)
    stage.cluster.blind = True

    stage.step(60)

    assert (stage.cluster.scales, stage.cluster.orders_given) == ([], [])


def test_a_change_by_hand_is_reverted_with_an_event() -> None:
    stage = Stage()
    stage.settle(0)
    stage.step(5)
    stage.cluster.replicas = 3
    stage.step(2)
    told = [message for reason, message in stage.cluster.events if reason == "ReplicasChanged"]

    stage.until(0)

    assert len(told) == 1
    assert "somebody else set replicas from 0 to 3" in told[0]


def test_pods_taken_away_by_hand_are_put_back_at_once() -> None:
    stage = Stage()
    stage.settle(4, jobs=4)
    stage.step(3)
    stage.cluster.replicas = 1

    stage.step()

    assert stage.cluster.scales == [4]
    assert stage.reasons == ["ReplicasChanged", "ScaledUp"]


def test_a_paused_set_is_left_alone() -> None:
    stage = Stage()
    stage.settle(4)
    stage.cluster.annotations["warren.dev/paused"] = "true"
    stage.cluster.queue = [5] * 100

    stage.step(40)
    stage.cluster.replicas = 2
    stage.step(5)

    assert (stage.cluster.scales, stage.cluster.orders_given, stage.cluster.events) == ([], [], [])


def test_a_dry_run_says_what_it_would_do_and_does_nothing() -> None:
    stage = Stage()
    stage.cluster.annotations["warren.dev/dry-run"] = "true"
    stage.cluster.queue = [5] * 100

    stage.step(5)

    assert stage.cluster.scales == []
    assert stage.reasons == ["DryRun"]
    assert "up, 0 workers now, 8 wanted" in stage.cluster.events[0][1]


def test_who_does_not_lead_does_nothing() -> None:
    stage = Stage()
    stage.leading = False
    stage.cluster.queue = [5] * 100

    stage.step(5)

    assert stage.cluster.scales == []


def test_during_a_rollout_none_is_let_go() -> None:
    stage = Stage()
    stage.settle(4)
    stage.cluster.pod_list[0].generation = "b"

    stage.step(40)

    assert (stage.cluster.scales, stage.cluster.orders_given) == ([], [])


def test_a_login_that_may_not_give_orders_keeps_all_workers_and_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    stage.settle(4)

    def refuse(_: object) -> None:
        raise NotPermitted("write access to exchange 'warren.control' refused")

    monkeypatch.setattr(stage.cluster, "drain", refuse)
    stage.step(60)

    assert stage.cluster.scales == []
    assert stage.reasons == ["OrdersRefused"]
    assert "warren.control" in stage.cluster.events[0][1]


def test_workers_that_cannot_be_called_back_are_replaced_by_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.settle(4)
    stage.cluster.silence = 0.0
    for pod in stage.cluster.pod_list:
        pod.draining = True

    def refuse(_: object) -> None:
        raise NotPermitted("write access to exchange 'warren.control' refused")

    monkeypatch.setattr(stage.cluster, "undrain", refuse)
    stage.cluster.queue = [1_000] * 4
    stage.step(int((ORDER_SECONDS + DEAF_SECONDS) / 2) + 1)

    assert stage.cluster.scales[0] == 8


def test_an_api_server_that_is_away_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    stage.cluster.queue = [1_000] * 8
    with monkeypatch.context() as patched:

        def away() -> None:
            raise KubernetesError("the API server does not answer")

        patched.setattr(stage.cluster, "pods", away)
        stage.step(5)
    stage.step()

    assert stage.cluster.scales == [8]
    assert len([record for record in caplog.records if record.event == "scaler_failed"]) == 1  # type: ignore[attr-defined]


def test_a_wrong_annotation_holds_its_set_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.cluster.annotations["warren.dev/max"] = "many"
    stage.cluster.queue = [1_000] * 8

    stage.step(3)

    assert stage.cluster.scales == []
    assert [record.message for record in caplog.records] == [
        "the worker set workers is held: workers: annotation warren.dev/max is 'many': must be an integer from 0"
    ]


def test_pods_that_never_came_to_run_are_let_go_without_a_drain() -> None:
    stage = Stage()
    stage.cluster.replicas = 5
    stage.cluster.pod_list = [SimulatedPod(name=f"pod-{i}") for i in range(5)]
    stage.cluster.tick = lambda: None  # type: ignore[method-assign]

    stage.step(10)

    assert stage.cluster.scales == [0]
    assert stage.cluster.orders_given == []


def test_a_scale_that_fails_is_tried_again_and_is_no_change_by_hand(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()
    stage.cluster.queue = [1_000] * 8
    with monkeypatch.context() as patched:

        def lost(worker_set: WorkerSet, replicas: int) -> None:
            # It was done, and the answer was lost.
            stage.cluster.replicas = replicas
            raise KubernetesError("the API server does not answer")

        patched.setattr(stage.cluster, "scale", lost)
        stage.step()
    stage.step(3)

    assert stage.cluster.replicas == 8
    assert stage.reasons == []
    assert "workers cannot be scaled: the API server does not answer" in caplog.text


def test_a_scale_that_meets_a_change_by_hand_is_decided_on_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.step()
    stage.cluster.queue = [1_000] * 8
    real = stage.cluster.scale

    def late(worker_set: WorkerSet, replicas: int) -> None:
        stage.cluster.replicas = 2
        monkeypatch.setattr(stage.cluster, "scale", real)
        real(worker_set, replicas)

    monkeypatch.setattr(stage.cluster, "scale", late)
    stage.step(2)

    assert stage.cluster.scales == [8]
    assert stage.reasons == ["ReplicasChanged", "ScaledUp"]


def test_a_leader_that_lost_the_lead_since_it_looked_does_nothing() -> None:
    stage = Stage()
    stage.settle(4)
    stage.step(3)
    answers = iter([True])
    stage.controller._leading = lambda: next(answers, False)

    stage.step()

    assert (stage.cluster.scales, stage.cluster.orders_given) == ([], [])


def test_events_that_cannot_be_recorded_hold_nothing_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage()

    def refuse(*_: object, **__: object) -> None:
        raise KubernetesError("events is forbidden")

    monkeypatch.setattr(stage.cluster, "tell", refuse)
    stage.cluster.queue = [2] * 8
    stage.step()
    stage.until_done()

    assert stage.cluster.scales[0] == 8
    assert caplog.text.count("events cannot be recorded") == 1


def test_busy_pods_are_guarded_when_asked_for_and_idle_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.settle(2, jobs=1)
    stage.cluster.silence = 0.0
    stage.cluster.pod_list[0].age = 100
    stage.controller._guard = True
    told: list[tuple[str, dict[str, str | None]]] = []

    def gone(pod: str, annotations: dict[str, str | None]) -> None:
        told.append((pod, annotations))
        raise KubernetesError("pod not found")

    monkeypatch.setattr(stage.cluster, "annotate", gone)
    stage.step()

    assert told == [
        (
            "pod-0",
            {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"},
        )
    ]


def test_the_loop_turns_until_told_to_stop_and_is_dead_when_it_does_not() -> None:
    stage = Stage()
    stop = StopSignal()

    def once() -> dict[str, Work]:
        stop.request()
        return {"warren.q.default": Work(ready=1, unacked=0)}

    stage.controller._look = once
    stage.controller.run(stop)
    alive = stage.controller.dead()
    stage.now += 121

    assert stage.cluster.scales == [1]
    assert alive is None
    assert stage.controller.dead() == "the loop has not turned for 121 s"


def test_without_a_cluster_the_program_ends_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))

    assert main(["kubernetes"]) == 2
    assert "no cluster" in capsys.readouterr().err
