"""All pages, put together."""

from __future__ import annotations

from flask import Blueprint

from warren_server.dashboard import (
    dead_letters,
    entry,
    jobs,
    overview,
    queues,
    redrives,
    scaling,
    schedules,
    tasks,
    workers,
)
from warren_server.dashboard.site import Site
from warren_server.parts import Parts


def routes(parts: Parts) -> Blueprint:
    """Make the pages of a process."""
    return site(parts).blueprint


def site(parts: Parts) -> Site:
    """Put the site together."""
    made = Site(parts)
    for each in (overview, queues, jobs, dead_letters, redrives, schedules, workers, tasks, scaling, entry):
        each.add(made)
    return made
