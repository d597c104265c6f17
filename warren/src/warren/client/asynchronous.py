"""The client for asyncio: the same as `Client`, with every method a coroutine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from random import Random
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from warren.client import connection, patience, wire
from warren.client.asynchronous_dead_letters import AsyncDeadLetterCalls
from warren.client.patience import Patience
from warren.client.request import SubmitOptions
from warren.client.scaling_views import ScalingOptions, ScalingView
from warren.client.schedule_views import ScheduleDefinition, ScheduleView
from warren.client.sending import Sending
from warren.client.views import (
    Health,
    JobPage,
    JobView,
    PurgeView,
    QueueLimits,
    QueueView,
    TaskView,
    TokenView,
)
from warren.client.wire import Answer, Request
from warren.errors import RequestFailed
from warren.request import JobRequest
from warren.task import Task


class AsyncClient(AsyncDeadLetterCalls):
    """Talks to a Warren server from one event loop; an asynchronous context manager.

    Every method raises `RequestFailed` when the server refuses or does not answer (status 0).

    Args:
        url: Base URL of the server; `WARREN_URL` unless given.
        token: Bearer token; `WARREN_TOKEN` unless given.
        limits: How long to wait and to try again.
        transport: An httpx transport, for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        limits: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._limits = limits or Patience()
        self._rng = Random()
        target = connection.target(url, token)
        self.url = target.url
        self._http = httpx.AsyncClient(
            base_url=target.url, headers=target.headers, trust_env=target.trust_env, transport=transport
        )

    async def submit(
        self,
        task: Task[..., Any] | str,
        arguments: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> JobView:
        """Submit a job; when this returns, the job is safe with the broker.

        What was not accepted, or may not have been, is sent again for a while; under its key the server takes the job
        once.

        Args:
            task: The task, whose signature is then checked here already, or its name.
            arguments: Its arguments by name.
            idempotency_key: 1 to 255 visible ASCII characters that name this submit, so that it can be repeated from
                elsewhere; a random one for this call unless given.
            **options: See `SubmitOptions`.

        Raises:
            InvalidArguments: The arguments do not fit the task, or are not JSON.
            RequestFailed: The server refused. `kind` is `outcome-unknown`, `no-answer` or `idempotency-key-busy` when
                the job may have been accepted nevertheless.
        """
        job = JobRequest(task=task, arguments=arguments or {}, **options)
        sending = Sending(wire.submit(job, idempotency_key), self._limits, self._rng, time.monotonic())
        return wire.read_job(await self._submit(sending))

    async def submit_many(
        self, jobs: Iterable[JobRequest], *, idempotency_key: str | None = None
    ) -> list[JobView | RequestFailed]:
        """Submit many jobs, up to 1000 in a request.

        Args:
            jobs: The jobs.
            idempotency_key: Names the whole call, see `submit`; to repeat it takes the same jobs in the same order.

        Returns:
            For each job in order what became of it: the job, or why it was refused.
        """
        rest: Iterator[JobRequest] = iter(jobs)
        results: list[JobView | RequestFailed] = []
        for number in count():
            batch = list(islice(rest, wire.MAX_BATCH))
            if not batch:
                break
            request = wire.submit_many(batch, idempotency_key, number)
            results += await self._submit_batch(Sending(request, self._limits, self._rng, time.monotonic()))
        return results

    async def job(self, job_id: str, wait_seconds: float = 0) -> JobView:
        """Ask for a job.

        Args:
            job_id: Its id.
            wait_seconds: How long the server may wait for the job to become final before it answers.
        """
        return wire.read_job(await self._send(wire.job(job_id, wait_seconds)))

    async def jobs(
        self,
        *,
        state: str | None = None,
        queue: str | None = None,
        task: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> JobPage:
        """Ask for a page of the jobs that match, newest first; pass its `cursor` for the next."""
        return wire.read_jobs(
            await self._send(wire.jobs(state=state, queue=queue, task=task, limit=limit, cursor=cursor))
        )

    async def wait(self, job: JobView | str, timeout_seconds: float = 300.0) -> JobView:
        """Wait until a job is final, through restarts of the server.

        Args:
            job: The job or its id.
            timeout_seconds: How long at most.

        Raises:
            RequestFailed: Of kind `wait-timeout` when the time is up; or the job is unknown.
        """
        job_id = job.id if isinstance(job, JobView) else job
        deadline = time.monotonic() + timeout_seconds
        last: JobView | None = None
        while (remaining := deadline - time.monotonic()) > 0:
            asked = min(remaining, wire.LONG_POLL_SECONDS)
            began = time.monotonic()
            try:
                last = await self.job(job_id, wait_seconds=asked)
                if last.final:
                    return last
                pause = patience.poll_pause(asked_seconds=asked, took_seconds=time.monotonic() - began)
            except RequestFailed as failure:
                again = patience.poll_again(failure, job=job, rng=self._rng)
                if again is None:
                    raise
                pause = again
            await asyncio.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        raise patience.still_waiting(job_id, last, timeout_seconds)

    async def queues(self) -> list[QueueView]:
        """Ask for all queues and how deep they are."""
        return wire.read_queues(await self._send(wire.QUEUES))

    async def queue(self, name: str) -> QueueView:
        """Ask for one queue."""
        return wire.read_queue(await self._send(wire.queue(name)))

    async def queue_scaling(self, name: str, **options: Unpack[ScalingOptions]) -> ScalingView:
        """Ask how many workers a queue should have, and why."""
        return wire.read_scaling(await self._send(wire.queue_scaling(name, options)))

    async def pause_queue(self, name: str) -> QueueView:
        """Let no more jobs of a queue start, on any worker; submits go on."""
        return wire.read_queue(await self._send(wire.pause_queue(name)))

    async def resume_queue(self, name: str) -> QueueView:
        """Let jobs of a queue start again."""
        return wire.read_queue(await self._send(wire.resume_queue(name)))

    async def purge_queue(self, name: str) -> PurgeView:
        """Have all jobs of a queue that wait now end cancelled; workers carry it out as they meet them."""
        return wire.read_purge(await self._send(wire.purge_queue(name)))

    async def queue_limits(self, name: str) -> QueueLimits:
        """Ask for a queue's limits."""
        return wire.read_limits(await self._send(wire.queue_limits(name)))

    async def limit_queue(self, name: str, limits: QueueLimits) -> QueueLimits:
        """Set all limits of a queue at once."""
        return wire.read_limits(await self._send(wire.limit_queue(name, limits)))

    async def tasks(self) -> list[TaskView]:
        """Ask for the tasks the server takes jobs for, with the schemas of their arguments."""
        return wire.read_tasks(await self._send(wire.TASKS))

    async def create_token(
        self, scopes: Sequence[str], name: str = "", expires_in: float | None = None, tenant: str | None = None
    ) -> TokenView:
        """Make a token; its secret is in this answer only."""
        return wire.read_token(await self._send(wire.create_token(scopes, name, expires_in, tenant)))

    async def tokens(self) -> list[TokenView]:
        """Ask for the tokens there are, without their secrets."""
        return wire.read_tokens(await self._send(wire.TOKENS))

    async def revoke_token(self, token_id: str) -> None:
        """Revoke a token."""
        wire.read(await self._send(wire.revoke_token(token_id)))

    async def schedules(self) -> list[ScheduleView]:
        """Ask for all schedules."""
        return wire.read_schedules(await self._send(wire.SCHEDULES))

    async def schedule(self, name: str) -> ScheduleView:
        """Ask for one schedule, with the ticks to come and the last ones."""
        return wire.read_schedule(await self._send(wire.schedule(name)))

    async def put_schedule(self, name: str, definition: ScheduleDefinition, *, dry_run: bool = False) -> ScheduleView:
        """Make a schedule, or change the one of that name to this.

        Args:
            name: Its name.
            definition: What it is to be.
            dry_run: Only check it and tell what would come of it.
        """
        return wire.read_schedule(await self._send(wire.put_schedule(name, definition, dry_run=dry_run)))

    async def delete_schedule(self, name: str) -> None:
        """Remove a schedule; jobs that were submitted stay."""
        wire.read(await self._send(wire.delete_schedule(name)))

    async def pause_schedule(self, name: str) -> ScheduleView:
        """Let a schedule rest."""
        return wire.read_schedule(await self._send(wire.schedule_order(name, "pause")))

    async def resume_schedule(self, name: str) -> ScheduleView:
        """Let a paused schedule go on; its policy decides on the ticks it missed."""
        return wire.read_schedule(await self._send(wire.schedule_order(name, "resume")))

    async def run_schedule(self, name: str) -> JobView:
        """Submit one job of a schedule now, outside its ticks."""
        return wire.read_job(await self._send(wire.schedule_order(name, "run")))

    async def health(self) -> Health:
        """Ask whether the server takes jobs now; unready is an answer, not an error."""
        return wire.read_health(await self._send(wire.READY))

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _submit_batch(self, sending: Sending) -> list[JobView | RequestFailed]:
        results = wire.read_batch(await self._submit(sending))
        while (pause := sending.again_for(results, time.monotonic())) is not None:
            await asyncio.sleep(pause)
            try:
                results = wire.read_batch(await self._submit(sending))
            except RequestFailed:
                # What is known of the jobs is worth more than what the last try met.
                break
        return results

    async def _submit(self, sending: Sending) -> Answer:
        while True:
            try:
                answer = await self._send(sending.request)
                wire.read(answer)
            except RequestFailed as failure:
                pause = sending.again(failure, time.monotonic())
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return answer

    async def _send(self, request: Request) -> Answer:
        try:
            answer = await self._http.request(
                request.method,
                request.path,
                params=dict(request.params),
                content=request.content,
                headers=request.headers,
                timeout=self._limits.answer_seconds + request.extra_seconds,
            )
        except httpx.RequestError as error:
            raise connection.failure(self.url, error) from error
        return Answer(status=answer.status_code, headers=answer.headers, content=answer.content)
