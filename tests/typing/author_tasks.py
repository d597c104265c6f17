"""Code as task authors write it; it must type-check strictly, and it is never run."""

from __future__ import annotations

from typing import Any, assert_type

from warren import AsyncClient, Client, Context, Discard, Retry, Task, task
from warren.client import JobRequest, JobView
from warren.errors import RequestFailed


@task
def bare(name: str) -> str:
    return f"hello {name}"


@task(queue="media", timeout=60, retry=Retry(max_attempts=5, min_delay=2, max_delay=600))
def thumbnail(ctx: Context, path: str, width: int = 256) -> dict[str, int]:
    ctx.progress(0.5, "half")
    if not path:
        raise Discard("no path")
    if ctx.cancelled:
        raise Retry.after(30)
    ctx.checkpoint({"width": width})
    return {"width": width}


@task(isolation="process", memory_limit_mb=256, oom_queue="large", oom_memory_limit_mb=1024)
async def fetch(url: str) -> bytes:
    return url.encode()


def a_task_called_directly_is_the_function_with_its_types(ctx: Context) -> None:
    assert_type(bare("Ada"), str)
    assert_type(bare(name="Ada"), str)
    assert_type(thumbnail(ctx, "a.png", width=10), dict[str, int])


async def an_async_task_is_awaited() -> None:
    assert_type(await fetch("http://x"), bytes)


def a_task_may_be_stored_as_any_task() -> list[Task[..., Any]]:
    return [bare, thumbnail, fetch]


def jobs_are_submitted(client: Client) -> JobView:
    job = client.submit(thumbnail, {"path": "a.png"}, delay=5, priority=3)
    for result in client.submit_many([JobRequest(task="bare", arguments={"name": "Ada"})]):
        if isinstance(result, RequestFailed):
            raise result
        assert_type(result, JobView)
    return client.wait(job, timeout_seconds=10)


async def jobs_are_submitted_from_asyncio(client: AsyncClient) -> JobView:
    return await client.wait(await client.submit("bare", {"name": "Ada"}))
