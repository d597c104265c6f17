"""Tasks with effects in a SQL database, for workers that are killed in the middle."""

from __future__ import annotations

import os
import signal
from functools import cache
from pathlib import Path

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, insert

from warren import Context, Retry, task
from warren.sql import once

payments = Table(
    "payments",
    MetaData(),
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("job", String(36), nullable=False),
)


@cache
def engine(url: str) -> Engine:
    return create_engine(url)


@task(name="effect.pay", queue="effects", retry=Retry(max_attempts=20, min_delay=0, max_delay=1))
def pay(ctx: Context, url: str, folder: str, die: str = "") -> bool:
    """Pay once; a file of the job's number takes the worker with it, before or after the commit."""
    with engine(url).begin() as connection:
        first = once(connection, ctx, "pay")
        if first:
            connection.execute(insert(payments).values(job=ctx.job_id))
        _die(folder, die, "before")
    _die(folder, die, "after")
    return first


def _die(folder: str, die: str, moment: str) -> None:
    if die != moment:
        return
    order = Path(folder) / f"kill-{moment}"
    if order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
