"""F4 and F14: the network between the parts is cut, slow, lossy, or silent in one direction."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from faults.checker import Bounds
from faults.lanes import lane_to, through
from faults.load import Sort
from faults.recovery import restart_seconds, standstill_seconds
from faults.service import Service, Weather
from faults.stage import PREFETCH, Stage
from waiting import eventually

pytestmark = pytest.mark.timeout(300)
HEARTBEAT_SECONDS = 5
SILENT = Weather(silent=True)
HELD = Sort(task="fault.sleeping", arguments={"seconds": 4})
KEYS = [f"held-{number}" for number in range(4)]
DETECTED_SECONDS = 2 * HEARTBEAT_SECONDS + 5
"""Both sides give a silent peer up after two intervals; the rest is for the job to come round and start."""


@pytest.fixture
def lane(stage: Stage) -> Iterator[Service]:
    with lane_to(stage.settings) as lane:
        yield lane


@pytest.mark.full
@pytest.mark.parametrize("directions", ["both", "up", "down"])
def test_jobs_of_a_worker_cut_off_from_the_broker_run_elsewhere(stage: Stage, lane: Service, directions: str) -> None:
    stage.start_server()
    stage.start_worker(**through(lane, stage.settings, heartbeat_seconds=HEARTBEAT_SECONDS))

    with stage.load():
        stage.wait_more_effects(200)
        stage.submit(HELD, KEYS)
        for key in KEYS:
            stage.wait_start(key)
        cut_at = stage.fault(f"a worker is cut off, {directions}")
        lane.turn(up=SILENT if directions != "down" else None, down=SILENT if directions != "up" else None)
        stage.start_worker()
        recovery = eventually(lambda: restart_seconds(stage.history.lines(), KEYS, cut_at), DETECTED_SECONDS + 10, 0.2)
        stage.fault("the network is back")
        lane.turn()
        stage.wait_more_effects(400)

    stage.finish(
        f"F4 worker cut off from the broker, {directions}",
        bounds=Bounds(faults=1, in_flight=2 * PREFETCH, crashes=1, recovery_seconds=DETECTED_SECONDS),
        recovery_seconds=recovery,
        note=f"recovery = redelivery, with a heartbeat of {HEARTBEAT_SECONDS} s",
    )


@pytest.mark.full
def test_a_server_cut_off_from_the_broker_refuses_and_goes_on_afterwards(stage: Stage, lane: Service) -> None:
    stage.start_server(**through(lane, stage.settings, heartbeat_seconds=HEARTBEAT_SECONDS))
    stage.start_worker()

    with stage.load():
        stage.wait_more_effects(200)
        stage.fault("the server is cut off")
        lane.turn(up=SILENT, down=SILENT)
        eventually(lambda: stage.history.count("refused") > 200, 40, 0.2)
        healed_at = stage.fault("the network is back")
        lane.turn()
        accepted = stage.history.count("accepted")
        eventually(lambda: stage.history.count("accepted") > accepted + 400, 30, 0.1)

    stage.finish(
        "F4 server cut off from the broker",
        bounds=Bounds(faults=1, in_flight=PREFETCH, recovery_seconds=15),
        recovery_seconds=standstill_seconds(stage.history.lines(), "accepted", healed_at),
        note="recovery = first job accepted after the network is back",
    )
    assert_answered_in_time(stage)


@pytest.mark.parametrize(
    ("name", "weather", "reset"),
    [
        pytest.param("connections reset", Weather(), True, id="reset"),
        pytest.param("latency of 2 s", Weather(latency_seconds=1), False, id="latency", marks=pytest.mark.full),
        pytest.param(
            "1 % of segments lost",
            Weather(stall_share=0.01, stall_seconds=0.3),
            False,
            id="loss",
            marks=pytest.mark.full,
        ),
        pytest.param("slow drip, 40 kB/s", Weather(bytes_per_second=40_000), False, id="drip", marks=pytest.mark.full),
    ],
)
def test_a_bad_network_delays_and_never_loses(
    stage: Stage, lane: Service, name: str, weather: Weather, reset: bool
) -> None:
    stage.start_server(**through(lane, stage.settings))
    stage.start_worker(**through(lane, stage.settings))
    stage.start_worker()

    with stage.load():
        stage.wait_more_effects(200)
        bad_at = stage.fault(name)
        lane.turn(up=weather, down=weather)
        if reset:
            lane.reset()
        eventually(lambda: time.monotonic() > bad_at + 8 or reset, 20, 0.1)
        healed_at = stage.fault("the network is good again")
        lane.turn()
        stage.wait_more_effects(400)

    stage.finish(
        f"F14 {name}",
        bounds=Bounds(faults=2, in_flight=2 * PREFETCH, crashes=2, recovery_seconds=10),
        recovery_seconds=standstill_seconds(stage.history.lines(), "accepted", healed_at),
        note="recovery = longest time without a job accepted afterwards",
    )
    assert_answered_in_time(stage)


@pytest.mark.full
def test_a_half_open_connection_is_given_up(stage: Stage, lane: Service) -> None:
    stage.start_server()
    stage.start_worker(**through(lane, stage.settings, heartbeat_seconds=HEARTBEAT_SECONDS))

    with stage.load(rate=220):
        stage.wait_more_effects(200)
        stage.submit(HELD, KEYS)
        # The broker's side is gone, and nobody ever tells the worker: what it sends goes nowhere.
        cut_at = stage.fault("half-open connection of a worker")
        lane.turn(up=SILENT, down=SILENT, refusing=True)
        eventually(lambda: time.monotonic() > cut_at + DETECTED_SECONDS, DETECTED_SECONDS + 5, 0.2)
        healed_at = stage.fault("a way to the broker again")
        lane.forget()
        lane.turn()
        stage.wait_more_effects(400, 60)

    stage.finish(
        "F14 half-open connection",
        bounds=Bounds(faults=1, in_flight=2 * PREFETCH, crashes=1, recovery_seconds=10),
        recovery_seconds=standstill_seconds(stage.history.lines(), "effect", healed_at),
        note="recovery = longest time without an effect once there is a way again",
    )


def assert_answered_in_time(stage: Stage) -> None:
    """No request hung: the client, who waits 15 s, always had an answer."""
    hung = [line for line in stage.history.lines() if line.data.get("why") == "ReadTimeout"]
    assert not hung, f"{len(hung)} submits had no answer in time"
