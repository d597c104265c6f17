"""Runs in a pod: submits jobs at a rate with our own client until SIGUSR1, and prints what became of each.

Open loop: what should have been sent by now is sent, whatever became of what was sent before. The client tries again by
its own rule; each try is recorded. The jobs of a moment go in one request, so that the pod costs little. For each job
one JSON object a line on standard output; the tries of a request stand with its first job, the others have the last:

    {"key", "due", "answered", "tries": [status or name of the error, ...], "job" or "failure"}
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import httpx

from warren.client import AsyncClient, JobRequest, JobView, Patience
from warren.errors import RequestFailed

TICK_SECONDS = 0.1
CONNECTIONS = 48


class Tries(httpx.AsyncHTTPTransport):
    """Keeps how each request of a submit ended, by its Idempotency-Key."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        super().__init__(limits=limits)
        self.of: dict[str, list[int | str]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        # A header's string stands in quotes (RFC 9651).
        tries = self.of[request.headers["Idempotency-Key"].strip('"')]
        try:
            answer = await super().handle_async_request(request)
        except httpx.TransportError as error:
            tries.append(type(error).__name__)
            raise
        tries.append(answer.status_code)
        return answer


class Submitter:
    """Submits jobs and prints what became of each.

    Args:
        client: Submits, over `tries`.
        tries: Keeps the tries.
    """

    def __init__(self, client: AsyncClient, tries: Tries) -> None:
        self._client = client
        self._tries = tries
        # httpx takes long to choose a connection while hundreds of requests wait for one.
        self._room = asyncio.Semaphore(CONNECTIONS)
        self.stopped = asyncio.Event()

    async def submit(self, key: str, jobs: Sequence[JobRequest]) -> None:
        """Submit jobs; not if they must wait for room until the end, for then they were never sent."""
        due = time.time()
        async with self._room:
            if self.stopped.is_set():
                return
            try:
                results = await self._client.submit_many(jobs, idempotency_key=key)
            except RequestFailed as failure:
                results = [failure] * len(jobs)
        times = {"due": due, "answered": time.time()}
        tries = self._tries.of.pop(key)
        for number, result in enumerate(results):
            told = {"tries": tries if number == 0 else tries[-1:], **_outcome(result)}
            print(json.dumps({"key": f"{key}/{number}", **times, **told}, separators=(",", ":")), flush=True)


def _outcome(result: JobView | RequestFailed) -> dict[str, str]:
    if isinstance(result, RequestFailed):
        return {"failure": f"{result.status} {result.kind}: {result}"}
    return {"job": result.id}


async def run(plan: dict[str, Any]) -> None:
    """Submit until told to stop, then wait for the answers still to come.

    Args:
        plan: `name`, `rate` in jobs a second, `limit` in seconds, and `mix`: task, arguments and share of each sort.
    """
    rng = random.Random(plan["name"])
    sorts = [JobRequest(task=sort["task"], arguments=sort["arguments"]) for sort in plan["mix"]]
    shares = [sort["share"] for sort in plan["mix"]]
    tries = Tries()
    patience = Patience(answer_seconds=15, submit_seconds=60)
    async with AsyncClient(limits=patience, transport=tries) as client, asyncio.TaskGroup() as under_way:
        submitter = Submitter(client, tries)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, submitter.stopped.set)
        sent = 0
        began = time.monotonic()
        while not submitter.stopped.is_set() and (now := time.monotonic() - began) < plan["limit"]:
            due = int(now * plan["rate"]) - sent
            if due > 0:
                sent += due
                jobs = rng.choices(sorts, shares, k=due)
                under_way.create_task(submitter.submit(f"{plan['name']}-{sent}", jobs))
            await asyncio.sleep(TICK_SECONDS)


if __name__ == "__main__":
    asyncio.run(run(json.loads(os.environ["PLAN"])))
