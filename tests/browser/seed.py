"""A server with something to see on every page."""

from __future__ import annotations

import time
from typing import Any

from letter_kit import row
from server_kit import Kit
from warren.envelope import new_job_id
from warren.events import ErrorInfo, Event, State
from warren_server.dashboard.history import EVERY_SECONDS, SAMPLES
from warren_server.queues import QueueState

TRACEBACK = """Traceback (most recent call last):
  File "/tasks/media.py", line 41, in resize
    image = Image.open(path)
  File "/opt/warren/lib/python3.13/site-packages/PIL/Image.py", line 3493, in open
    fp = builtins.open(filename, "rb")
FileNotFoundError: [Errno 2] No such file or directory: '/data/in/4711.png'
"""
ERROR = ErrorInfo(type="FileNotFoundError", message="[Errno 2] No such file or directory: '/data/in/4711.png'")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def event(job: str, state: State, attempt: int = 1, **fields: Any) -> Event:
    usual = {
        "task": "greet",
        "queue": "default",
        "enqueued_ms": now_ms() - 90_000,
        "worker": "warren-default-7d9f-x2k4p",
    }
    return Event(**{**usual, "at_ms": now_ms(), **fields}, job=job, state=state, attempt=attempt)


def retrying_job(kit: Kit) -> str:
    """A job that failed, was lost with its worker, and runs again."""
    job, now = new_job_id(), now_ms()
    common = {"task": "resize", "queue": "media", "max_attempts": 5, "enqueued_ms": now - 300_000}
    error = ErrorInfo(type=ERROR.type, message=ERROR.message, traceback=TRACEBACK)
    kit.parts.jobs.project(
        [
            event(
                job,
                State.RETRYING,
                1,
                started_ms=now - 290_000,
                at_ms=now - 288_600,
                outcome="failed",
                error=error,
                worker="warren-media-5c8b-qqz7t",
                **common,
            ),
            event(
                job,
                State.RUNNING,
                2,
                started_ms=now - 200_000,
                at_ms=now - 200_000,
                worker="warren-media-5c8b-m4w9d",
                **common,
            ),
            event(
                job,
                State.RUNNING,
                3,
                started_ms=now - 12_000,
                at_ms=now - 2_000,
                redelivered=True,
                progress=0.4,
                progress_message="4 of 10 pages",
                worker="warren-media-5c8b-v8r2c",
                **common,
            ),
        ]
    )
    return job


def dead_job(
    kit: Kit, dead_ms: int, *, task: str = "resize", queue: str = "media", info: ErrorInfo = ERROR, ran_ms: int = 700
) -> str:
    """A job that is a dead letter."""
    job, error = new_job_id(), ErrorInfo(type=info.type, message=info.message, traceback=TRACEBACK)
    common = {"task": task, "queue": queue, "worker": f"warren-{queue}-5c8b-qqz7t"}
    told = {"outcome": "failed", "error": error, "max_attempts": 5, "enqueued_ms": dead_ms - 60_000, **common}
    kit.parts.jobs.project([event(job, State.DEAD, 5, started_ms=dead_ms - ran_ms, at_ms=dead_ms, **told)])
    made = row(job, body=b'{"width": 640, "name": "4711.png"}', error=error.type, dead_ms=dead_ms, **common)
    kit.parts.letters.add([{**made, "error_message": error.message, "error_traceback": TRACEBACK}])
    return job


def fill(kit: Kit) -> dict[str, str]:
    """Fill the store, the broker's side and the history; return the paths of pages that need something to be there."""
    events = []
    now = now_ms()
    for number in range(600):
        minutes = 30 - number / 20
        ended = int(now - minutes * 60_000)
        task, queue = ("resize", "media") if number % 3 else ("greet", "default")
        events.append(
            event(
                new_job_id(),
                State.SUCCEEDED,
                started_ms=ended - 900,
                at_ms=ended,
                task=task,
                queue=queue,
                enqueued_ms=ended - 2000,
                outcome="succeeded",
                result='{"pages": 12}',
                worker=f"warren-{queue}-{number % 4}",
            )
        )
    kit.parts.jobs.project(events)
    job = retrying_job(kit)
    letters = [dead_job(kit, now - 20_000 - number * 70_000) for number in range(5)]
    slow = ErrorInfo(type="TimeoutError", message="ran longer than 60 s")
    dead_job(kit, now - 400_000, task="greet", queue="default", info=slow, ran_ms=60_000)
    kit.client.put(
        "/v1/schedules/nightly-report",
        json={"cron": "30 2 * * *", "timezone": "Europe/Berlin", "task": "greet", "arguments": {"cmd": "report"}},
    )
    kit.client.put("/v1/schedules/heartbeat", json={"interval": 300, "task": "greet", "arguments": {"cmd": "beat"}})
    kit.client.post("/v1/queues/spare/pause")
    _remember(kit)
    return {
        "/ui/jobs/": f"/ui/jobs/{job}",
        "/ui/jobs/dead": f"/ui/jobs/{letters[0]}",
        "/ui/dead-letters/": f"/ui/dead-letters/{letters[0]}",
    }


def _remember(kit: Kit) -> None:
    """Give the broker's side a past."""
    history, clock = kit.parts.history, history_clock()
    for each in kit.parts._rounds:
        each.stop()
    place = 0

    def depths() -> dict[str, QueueState]:
        wave = abs((place * 7) % 120 - 60)
        return {
            "warren.q.default": QueueState(ready=wave // 2, unacked=8 + wave // 10, consumers=2 + wave // 30),
            "warren.q.media": QueueState(ready=40 + wave * 4, unacked=20, consumers=3 + wave // 15),
            "warren.q.spare": QueueState(ready=3, unacked=0, consumers=0),
        }

    kit.parts.queues._read_depths = depths
    kit.parts.queues._depths = (float("-inf"), {})
    history._clock = lambda: clock[place]
    for place in range(SAMPLES):  # noqa: B007 - the functions above read it
        history.look()


def history_clock() -> list[int]:
    return [now_ms() - int((SAMPLES - place) * EVERY_SECONDS * 1000) for place in range(SAMPLES)]
