"""Mistakes of task authors; each line marked `error` must be refused by the type checker, and no other."""

from __future__ import annotations

from warren import Client, Context, Retry, task


@task(queue="media")
def thumbnail(ctx: Context, path: str, width: int = 256) -> str:
    ctx.progress("half")  # error
    return path


@task
async def fetch(url: str) -> bytes:
    return url.encode()


def mistakes(client: Client, ctx: Context) -> None:
    thumbnail(ctx, path=1)  # error
    thumbnail(ctx, "a", height=2)  # error
    number: int = thumbnail(ctx, "a")  # error
    body: bytes = fetch("x")  # error
    client.submit(thumbnail, {"path": "a"}, when=5)  # error
    client.submit("thumbnail", {"path": "a"}, priority="high")  # error
    Retry(max_attempts="many")  # error
    task(queue=5)  # error
    print(number, body)
