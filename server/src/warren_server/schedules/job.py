"""The jobs of a schedule: what is submitted for a tick, and whether it can be."""

from __future__ import annotations

from typing import Final

from warren.errors import Problem, UnknownTask
from warren_server.api.problems import Refusal
from warren_server.api.requests import JobRequest
from warren_server.schedules.schedule import Definition
from warren_server.tasks import KnownTasks

MAX_ARGUMENTS_BYTES: Final = 64 * 1024
"""Ticks that were missed come by the hundreds, each with its arguments."""


def job_request(definition: Definition, delay_seconds: int = 0) -> JobRequest:
    """Return the job to submit for a tick.

    Args:
        definition: What its schedule says.
        delay_seconds: The tick's jitter.
    """
    # Checked when the schedule was made.
    return JobRequest.model_construct(
        task=definition.task,
        arguments=dict(definition.arguments),
        delay=delay_seconds or None,
        **definition.options,
    )


def check_job(definition: Definition, tasks: KnownTasks) -> None:
    """Make sure that the jobs of a schedule would be taken.

    Raises:
        Refusal: The task is unknown, or its rules do not allow what the schedule says.
        InvalidArguments: The arguments do not fit the task.
    """
    try:
        task = tasks.get(definition.task)
    except UnknownTask as error:
        raise _refusal("task", "unknown_task", str(error)) from error
    timeout = definition.options.get("timeout")
    if timeout is not None and timeout > task.timeout_seconds:
        raise _refusal(
            "timeout", "less_than_equal", f"must be at most the task's own limit of {task.timeout_seconds:g} s"
        )
    size = len(task.write(definition.arguments))
    if size > MAX_ARGUMENTS_BYTES:
        raise _refusal("arguments", "too_long", f"have {size} bytes, the limit for schedules is {MAX_ARGUMENTS_BYTES}")


def _refusal(field: str, rule: str, message: str) -> Refusal:
    problem = Problem(field=field, rule=rule, message=message)
    return Refusal("invalid-request", f"{field}: {message}", problems=[problem])
