"""The broker itself is killed and comes back."""

from __future__ import annotations

import pytest

from faults.checker import Bounds
from faults.stage import PREFETCH, Stage, sizes

pytestmark = pytest.mark.timeout(600)
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
            again_at = max(stage.wait_first("accepted", back_at), stage.wait_first("effect", back_at))
            recoveries.append(again_at - back_at)
            stage.wait_more_effects(100)

    # What is in flight at the broker's end: jobs at the workers, and confirms and acks it never wrote.
    stage.finish(
        "F3 SIGKILL and restart of a single broker",
        bounds=Bounds(faults=kills, in_flight=WORKERS * PREFETCH, crashes=kills, recovery_seconds=10),
        recovery_seconds=max(recoveries),
        note=f"{kills} kills; recovery = from its first answer to jobs accepted and done again",
    )
