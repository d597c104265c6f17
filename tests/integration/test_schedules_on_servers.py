"""Schedules on real servers, broker and stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres import PrivatePostgres
from processes import free_port
from schedule_runs import servers, start_in
from warren.settings import BrokerSettings

TICKS = 15


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    postgres = PrivatePostgres(free_port())
    try:
        postgres.start()
        yield postgres.url
    finally:
        postgres.remove()


@pytest.mark.timeout(240)
def test_two_servers_fire_each_tick_once_though_one_is_killed_at_the_worst_moments(
    amqp: BrokerSettings, tmp_path: Path, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with servers(tmp_path, amqp, store) as pair:
        start, first_ms = start_in(1)
        pair.put(start=start)

        pair.wait_for_ticks(first_ms, 2)
        pair.kill(1)
        pair.kill_at("claim", 1, tmp_path / "died-at-claim")
        pair.kill_at("publish", 1, tmp_path / "died-at-publish")
        pair.start(1)
        pair.wait_for_ticks(first_ms, TICKS)
        outcome = pair.outcome(TICKS)

    with capsys.disabled():
        print(f"\n{len(outcome.wanted)} ticks, {pair.kills} servers killed: {len(outcome.submitted)} jobs, "
              f"duplicate runs = {outcome.duplicates}")  # fmt: skip
    assert sorted(outcome.submitted) == sorted(outcome.wanted)
    assert sorted(outcome.runs) == sorted(outcome.wanted)
    assert outcome.duplicates <= pair.kills
