"""Six hundred ticks of a schedule on two servers that are killed by turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import pytest

from postgres import PrivatePostgres
from processes import free_port
from schedule_runs import servers, start_in
from warren.settings import BrokerSettings

TICKS = 600
POINTS = ("claim", "publish")


@pytest.fixture
def store() -> Iterator[str]:
    postgres = PrivatePostgres(free_port())
    try:
        postgres.start()
        yield postgres.url
    finally:
        postgres.remove()


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_six_hundred_ticks_are_six_hundred_jobs_whichever_server_is_killed(
    amqp: BrokerSettings, tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with servers(tmp_path, amqp, store) as pair:
        start, first_ms = start_in(10)
        pair.put(start=start)

        for turn, moment in enumerate(range(60, TICKS, 60)):
            pair.wait_for_ticks(first_ms, moment)
            pair.kill(turn % 2)
            if turn % 3 == 0:
                pair.kill_at(POINTS[turn // 3 % 2], turn % 2, tmp_path / f"died-{turn}")
            pair.start(turn % 2)
        pair.wait_for_ticks(first_ms, TICKS)
        outcome = pair.outcome(TICKS)

    percentiles = quantiles(pair.lateness.values(), n=100)
    with capsys.disabled():
        print(
            f"\n{len(outcome.wanted)} ticks, {pair.kills} servers killed: {len(outcome.submitted)} jobs, "
            f"duplicate runs = {outcome.duplicates}; fired late by p50 = {percentiles[49] * 1000:.0f} ms, "
            f"p99 = {percentiles[98] * 1000:.0f} ms, most = {max(pair.lateness.values()) * 1000:.0f} ms"
        )
    assert sorted(outcome.submitted) == sorted(outcome.wanted)
    assert sorted(outcome.runs) == sorted(outcome.wanted)
    assert outcome.duplicates <= pair.kills
