"""A node's drain, by the eviction API, of servers, workers and brokers while 100 jobs a second come in."""

from __future__ import annotations

from e2e.installation import Installation
from e2e.under_load.evicting import drain, ready
from e2e.under_load.strain import BROKERS, SERVERS, WORKERS, strain
from waiting import eventually


def test_servers_and_workers_leave_by_their_budgets_and_finish_their_jobs(production: Installation) -> None:
    with strain(production, "drain") as strained:
        drained = drain(production.namespace, [SERVERS, WORKERS])
        eventually(lambda: len(ready(production.namespace, WORKERS)) == 3, 60, interval_seconds=2)
        strained.load.wait_accepted(300)
        eventually(lambda: set(drained.evicted) <= set(strained.ends.of), 90, interval_seconds=2)
        account = strained.judge()

    print(f"\ndrain of servers and workers: {drained}; {account}")
    assert len(drained.evicted) == 5
    assert drained.refused
    assert drained.fewest[SERVERS] >= 1
    assert drained.fewest[WORKERS] >= 2
    assert not account.failed
    assert not account.lost
    assert not account.strangers
    assert not account.burnt
    assert not account.killed
    assert not strained.ends.killed


def test_brokers_leave_one_at_a_time_and_no_job_is_lost(production: Installation) -> None:
    with strain(production, "brokers") as strained:
        drained = drain(production.namespace, [BROKERS])
        eventually(lambda: len(ready(production.namespace, BROKERS)) == 3, 120, interval_seconds=2)
        strained.load.wait_accepted(300)
        account = strained.judge(180)

    print(f"\ndrain of brokers: {drained}; {account}")
    assert len(drained.evicted) == 3
    assert drained.refused
    assert drained.fewest[BROKERS] >= 2
    assert account.longest_gap_seconds <= 15
    assert not account.failed
    assert not account.lost
    assert not strained.ends.of
