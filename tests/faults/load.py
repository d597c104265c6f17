"""Open-loop load over HTTP: so many jobs a second whatever the server does, every submit in the history.

Nothing is tried again: an outcome that is unknown stays unknown.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

from faults.history import History, Kind, Line

TICK_SECONDS = 0.1
ANSWER_SECONDS = 15.0
SENDERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """A sort of job.

    Attributes:
        task: Name of the task.
        share: Weight in the mix.
        expect: The state it must end in, or `any`.
        arguments: Arguments besides `key`.
        options: Further fields of the request, such as `delay`.
    """

    task: str
    share: float = 1.0
    expect: str = "succeeded"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


MIX = (
    Sort(task="fault.quick", share=80),
    Sort(task="fault.asynchronous", share=8),
    Sort(task="fault.flaky", share=4),
    Sort(task="fault.failing", share=2, expect="dead"),
    *(Sort(task="fault.quick", share=2, options={"delay": delay}) for delay in (1, 2, 3)),
)
"""What every fault meets: threads, coroutines, retries, dead letters and the ladder."""


class Load:
    """Submits jobs at a rate, from threads of its own, until stopped; a context manager.

    Args:
        url: The server's base URL.
        history: Where submits are recorded.
        rate: Jobs a second.
        mix: Sorts of jobs.
        name: Prefix of the keys; one load, one name.
        seed: Of the choice among the sorts.
    """

    def __init__(
        self,
        url: str,
        history: History,
        *,
        rate: float = 220.0,
        mix: Sequence[Sort] = MIX,
        name: str = "load",
        seed: int = 1,
    ) -> None:
        self._history = history
        self._rate = rate
        self._mix = mix
        self._name = name
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        limits = httpx.Limits(max_connections=SENDERS, max_keepalive_connections=SENDERS)
        self._client = httpx.Client(base_url=url, timeout=ANSWER_SECONDS, limits=limits, trust_env=False)
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix=f"load-{name}")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"load-{name}")
        self._errors: list[BaseException] = []
        self.sent = 0
        self.seconds = 0.0

    @property
    def jobs_per_second(self) -> float:
        """Jobs sent a second so far."""
        return self.sent / self.seconds if self.seconds else 0.0

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for the answers that are still to come."""
        self._stopping.set()
        self._thread.join()
        self._senders.shutdown(wait=True)
        self._client.close()
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        began = time.monotonic()
        # Open loop: what should have been sent by now is sent, whatever became of what was sent before.
        while not self._stopping.wait(TICK_SECONDS):
            now = time.monotonic()
            due = int((now - began) * self._rate) - self.sent
            if due > 0:
                self._senders.submit(self._guarded, [self._job() for _ in range(due)])
                self.sent += due
            self.seconds = now - began

    def _job(self) -> tuple[str, Sort]:
        (sort,) = self._rng.choices(self._mix, [sort.share for sort in self._mix])
        return f"{self._name}-{next(self._numbers)}", sort

    def _guarded(self, jobs: Sequence[tuple[str, Sort]]) -> None:
        try:
            send(self._client, self._history, jobs)
        except BaseException as error:
            self._errors.append(error)
            raise


def send(client: httpx.Client, history: History, jobs: Sequence[tuple[str, Sort]]) -> None:
    """Submit one batch and record what is known of each of its jobs."""
    now = time.monotonic()
    history.extend(
        Line(
            kind="sent",
            at=now,
            key=key,
            data={"task": sort.task, "expect": sort.expect, "delay": sort.options.get("delay")},
        )
        for key, sort in jobs
    )
    requests = [{"task": sort.task, "arguments": {"key": key, **sort.arguments}, **sort.options} for key, sort in jobs]
    try:
        answer = client.post("/v1/jobs/batch", json={"jobs": requests})
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        verdicts = _all("refused", jobs, type(error).__name__)
    except httpx.TransportError as error:
        verdicts = _all("unknown", jobs, type(error).__name__)
    else:
        verdicts = _read(answer, jobs)
    history.extend(verdicts)


def _read(answer: httpx.Response, jobs: Sequence[tuple[str, Sort]]) -> Iterator[Line]:
    if answer.status_code != httpx.codes.ACCEPTED:
        yield from _all(_kind_of(answer.status_code, answer.json()), jobs, str(answer.status_code))
        return
    now = time.monotonic()
    for (key, _), item in zip(jobs, answer.json()["jobs"], strict=True):
        if item["status"] == httpx.codes.ACCEPTED:
            data = {"tracking": item["tracking"]} if "tracking" in item else {}
            yield Line(kind="accepted", at=now, key=key, job=item["id"], data=data)
        else:
            why = item["problem"]["type"]
            yield Line(kind=_kind_of(item["status"], item["problem"]), at=now, key=key, data={"why": why})


def _kind_of(status: int, problem: Mapping[str, Any]) -> Kind:
    """Say whether a submit that was not taken was certainly not taken."""
    certain = status < 500 or str(problem.get("type")).endswith(("-unavailable", "-blocked", "/not-ready"))
    return "refused" if certain else "unknown"


def _all(kind: Kind, jobs: Sequence[tuple[str, Sort]], why: str) -> Iterator[Line]:
    now = time.monotonic()
    return (Line(kind=kind, at=now, key=key, data={"why": why}) for key, _ in jobs)
