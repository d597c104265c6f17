"""The broker itself is killed and comes back."""

from __future__ import annotations

import pytest

from faults.checker import Bounds
from faults.stage import PREFETCH, Stage, sizes
from waiting import eventually

pytestmark = pytest.mark.timeout(300)
WORKERS = 2


@pytest.mark.parametrize("kills", sizes(1, 3))
def test_work_goes_on_soon_after_a_killed_broker_is_back(stage: Stage, kills: int) -> None:
    stage.start_server()
    for _ in range(WORKERS):
        stage.start_worker()
    recoveries = []

    with stage.load():
        for _ in range(kills):
            stage.wait_more_effects(300)
            stage.fault("SIGKILL of the broker")
            stage.broker.kill()
            stage.broker.start()
            back_at = stage.fault("the broker is back")
            recoveries.append(max(accepted_again(stage, back_at), effect_again(stage, back_at)) - back_at)
            stage.wait_more_effects(100)

    # What is in flight at the broker's end: jobs at the workers, and confirms and acks it never wrote.
    stage.finish(
        "F3 SIGKILL and restart of a single broker",
        bounds=Bounds(faults=kills, in_flight=WORKERS * PREFETCH, crashes=kills, recovery_seconds=10),
        recovery_seconds=max(recoveries),
        note=f"{kills} kills; recovery = from its first answer to jobs accepted and done again",
    )


def accepted_again(stage: Stage, after: float) -> float:
    return _first(stage, "accepted", after)


def effect_again(stage: Stage, after: float) -> float:
    return _first(stage, "effect", after)


def _first(stage: Stage, kind: str, after: float) -> float:
    lines = stage.history.lines
    return eventually(
        lambda: next((line.at for line in lines() if line.kind == kind and line.at > after), 0.0), 60, 0.1
    )
