"""Who asks, as the gate found out at the door."""

from __future__ import annotations

from flask import g

from warren_server.auth import ANYONE, Caller
from warren_server.store.fold import Row


def caller() -> Caller:
    """Return who sent the request at hand."""
    found: Caller = g.get("caller", ANYONE)
    return found


def tenant() -> str | None:
    """Return whose jobs the request is about; None for the tenant without a name, and for those who see all."""
    return caller().tenant


def may_see(job: Row) -> bool:
    """Whether a job is the caller's to know of."""
    mine = tenant()
    return mine is None or job["tenant"] == mine
