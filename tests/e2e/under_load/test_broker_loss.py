"""A broker of three goes, the leader of the job queue, while 100 jobs a second come in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from e2e.installation import Installation
from e2e.under_load.strain import strain

RESUMED_SECONDS = 15.0


def leader(production: Installation) -> str:
    """Return the pod that leads the job queue."""
    words = ("rabbitmqctl", "--quiet", "list_queues", "--vhost", "warren", "name", "leader", "--formatter", "json")
    for number in range(3):
        pod = f"warren-rabbitmq-server-{number}"
        said = production.namespace.kubectl("exec", pod, "--container", "rabbitmq", "--", *words)
        (node,) = (one["leader"] for one in json.loads(said) if one["name"] == "warren.q.default")
        found = re.match(r"rabbit@([\w-]+)", node)
        assert found, node
        return found[1]
    raise AssertionError("unreachable")


@pytest.fixture
def three(production: Installation) -> Iterator[Installation]:
    """Three brokers before the test, and after it for the next one."""
    yield production
    production.wait_for_topology()


@pytest.mark.parametrize("how", [(), ("--grace-period=0", "--force")], ids=["deleted", "killed"])
def test_submits_resume_soon_and_no_job_is_lost(three: Installation, how: tuple[str, ...]) -> None:
    kind = "killed" if how else "deleted"

    with strain(three, f"broker-{kind}") as strained:
        struck = leader(three)
        three.namespace.kubectl("delete", "pod", struck, "--wait=false", *how)
        strained.load.wait_accepted(1500, timeout_seconds=120)
        three.namespace.kubectl("wait", "--for=condition=Ready", f"pod/{struck}", "--timeout=120s")
        strained.load.wait_accepted(300)
        account = strained.judge(180)

    print(f"\nleader {kind} ({struck}): {account}")
    assert account.longest_gap_seconds <= RESUMED_SECONDS
    assert not account.failed
    assert not account.lost
    assert not strained.ends.of
    assert not strained.ends.restarts
