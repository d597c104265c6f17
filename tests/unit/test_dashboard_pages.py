"""Every page of the dashboard, on the in-memory transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server_kit import Kit, running
from warren.events import Event, State

JOB = {"task": "greet", "arguments": {"cmd": "a"}}
SCHEDULE = {"cron": "0 3 * * *", "task": "greet", "arguments": {"cmd": "tick"}}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with running(tmp_path) as made:
        yield made


def text(kit: Kit, path: str, status: int = 200) -> str:
    answer = kit.client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.content_type == "text/html; charset=utf-8"
    return str(answer.text)


def ran(job: str, *, attempt: int = 1, state: State = State.RUNNING, **fields: object) -> Event:
    told = {"task": "greet", "queue": "default", "enqueued_ms": 1000, "at_ms": 3000, "started_ms": 2000, **fields}
    return Event(job=job, state=state, attempt=attempt, worker=told.pop("worker", "pod-1"), **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", "Overview"),
        ("/ui/queues", "default"),
        ("/ui/queues/media", "Purge media"),
        ("/ui/jobs", "No job is like that."),
        ("/ui/dead-letters", "dead letters"),
        ("/ui/dead-letters/redrive", "dry run"),
        ("/ui/dead-letters/redrives", "Redrives"),
        ("/ui/schedules", "None."),
        ("/ui/workers", "None was heard of yet."),
        ("/ui/tasks", "greet"),
        ("/ui/tasks/greet", "Answer a greeting."),
        ("/ui/scaling", "Desired"),
    ],
)
def test_every_page_shows_what_it_is_for_also_when_there_is_nothing_yet(kit: Kit, path: str, words: str) -> None:
    assert words in text(kit, path)
