"""Schedules: when they tick, and pausing, resuming and running them now."""

from __future__ import annotations

from flask import Response, request

from warren_server.api import schedule_documents
from warren_server.api.schedules import known_name, next_ticks
from warren_server.dashboard.paging import page
from warren_server.dashboard.site import Site


def add(site: Site) -> None:
    """Add the pages."""
    planner = site.parts.planner

    @site.page("/ui/schedules")
    def schedules() -> Response:
        listed = page(planner.all(), request.args.get("page"))
        shown = [schedule_documents.schedule(found) for found in listed.items]
        return site.render("schedules.html", listed=listed, shown=shown)

    @site.page("/ui/schedules/<schedule>")
    def schedule(schedule: str) -> Response:
        found, last = planner.get(known_name(schedule))
        return site.render(
            "schedule.html", schedule=schedule_documents.schedule_with_ticks(found, next_ticks(found), last)
        )

    @site.action("/ui/schedules/<schedule>/pause", "admin")
    def pause_schedule(schedule: str) -> Response:
        planner.set_paused(known_name(schedule), paused=True)
        return site.done("schedule-paused", "schedule", schedule=schedule)

    @site.action("/ui/schedules/<schedule>/resume", "admin")
    def resume_schedule(schedule: str) -> Response:
        planner.set_paused(known_name(schedule), paused=False)
        return site.done("schedule-resumed", "schedule", schedule=schedule)

    @site.action("/ui/schedules/<schedule>/run", "admin")
    def run_schedule(schedule: str) -> Response:
        taken = planner.run(known_name(schedule))
        if not taken.recorded:
            return site.done("deferred", "schedule", schedule=schedule)
        return site.done("submitted", "job", job=taken.order.event.job)
