"""Run one job once, here: every ending becomes an outcome, and only the outcome leaves."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from warren.context import Context
from warren.errors import InvalidArguments
from warren_worker.job import Job
from warren_worker.outcome import Invalid, Outcome, TimedOut, describe, raised, returned, timeout_error


def run(job: Job, context: Context) -> Outcome:
    """Run a job on this thread; an `async def` gets an event loop of its own."""
    try:
        arguments = job.task.validate(job.envelope.body)
    except InvalidArguments as error:
        return Invalid(error=describe(error))
    except Exception as error:  # noqa: BLE001 - a validator of the task's own types may raise anything
        return raised(error, job.timeout_seconds)
    try:
        value = _call(job, context, arguments)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        return returned(value)
    except BaseException as error:  # noqa: BLE001 - SystemExit and the like end the attempt, never the worker
        return raised(error, job.timeout_seconds)


async def run_async(job: Job, context: Context) -> Outcome:
    """Run an `async def` job on this event loop, cut off by its timeout."""
    try:
        arguments = job.task.validate(job.envelope.body)
    except InvalidArguments as error:
        return Invalid(error=describe(error))
    except Exception as error:  # noqa: BLE001
        return raised(error, job.timeout_seconds)
    limit = asyncio.timeout(job.timeout_seconds)
    try:
        async with limit:
            value = await _call(job, context, arguments)
        return returned(value)
    except BaseException as error:  # noqa: BLE001 - SystemExit in a coroutine would stop the whole loop
        if isinstance(error, TimeoutError) and limit.expired():
            return TimedOut(error=timeout_error(job.timeout_seconds, describe(error).traceback))
        return raised(error, job.timeout_seconds)


def _call(job: Job, context: Context, arguments: dict[str, Any]) -> Any:
    function = job.task.function
    return function(context, **arguments) if job.task.takes_context else function(**arguments)
