"""`helm upgrade` and `helm rollback` while 100 jobs a second come in."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

import pytest

from e2e.commands import ENVIRONMENT
from e2e.installation import Installation
from e2e.under_load.strain import OURS, SERVERS, WORKERS, strain
from waiting import eventually

NEXT_TAG = ENVIRONMENT.get("WARREN_E2E_NEXT_IMAGE_TAG", "")
"""Tag of the images to upgrade to."""


def images(production: Installation, selector: str) -> set[str]:
    """Return the images of the pods that stay."""
    pods = production.namespace.items("pods", "--selector", selector)
    return {one["spec"]["containers"][0]["image"] for one in pods if "deletionTimestamp" not in one["metadata"]}


@pytest.mark.skipif(not NEXT_TAG, reason="WARREN_E2E_NEXT_IMAGE_TAG names no images to upgrade to")
def test_upgrade_and_rollback_lose_no_job_and_kill_none(production: Installation) -> None:
    first = production.images
    before = {one["metadata"]["name"] for one in production.pods(OURS)}
    took = {}

    with strain(production, "upgrade") as strained:
        production.images = replace(first, tag=NEXT_TAG)
        began = monotonic()
        production.upgrade("warren", "--wait", "--timeout=5m", values={"workerDefaults": {"concurrency": 12}})
        took["upgrade"] = round(monotonic() - began)
        upgraded = images(production, SERVERS) | images(production, WORKERS)
        strained.load.wait_accepted(300)
        production.images = first
        began = monotonic()
        production.rollback("warren", "--wait", "--timeout=5m")
        took["rollback"] = round(monotonic() - began)
        strained.load.wait_accepted(300)
        eventually(lambda: len(production.pods(OURS)) == len(before), 90, interval_seconds=2)
        account = strained.judge()

    rolled_back = images(production, SERVERS) | images(production, WORKERS)
    print(f"\nupgrade and rollback: seconds {took}; {account}; {len(strained.ends.of)} pods ended")
    assert {image.rpartition(":")[2] for image in upgraded} == {NEXT_TAG}
    assert {image.rpartition(":")[2] for image in rolled_back} == {first.tag}
    assert not account.failed
    assert not account.lost
    assert not account.strangers
    assert not account.burnt
    assert not account.killed
    assert len(strained.ends.of) >= 2 * len(before)
    assert not strained.ends.killed
    assert not strained.ends.restarts
