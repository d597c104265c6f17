"""The limits of one attempt."""

from __future__ import annotations

import pytest

from warren.envelope import Envelope, new_job_id
from warren.task import Registry, task
from warren_worker.job import Job


@pytest.mark.parametrize(("asked", "limit"), [(None, 10), (2.5, 2.5), (10, 10), (3600, 10)])
def test_a_job_may_shorten_its_tasks_time_limit_and_never_lengthen_it(asked: float | None, limit: float) -> None:
    @task(timeout=10, registry=Registry())
    def short() -> None: ...

    envelope = Envelope(id=new_job_id(), task="short", queue="default", timeout_seconds=asked)

    assert Job(envelope=envelope, task=short, attempt=1).timeout_seconds == limit
