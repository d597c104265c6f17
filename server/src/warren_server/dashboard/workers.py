"""Workers: what each runs now, and telling it to drain."""

from __future__ import annotations

from flask import Response, request

from warren_server.api import views
from warren_server.dashboard.paging import page
from warren_server.dashboard.reading import if_there
from warren_server.dashboard.site import Site
from warren_server.workers import Worker

_JOBS = 20


def add(site: Site) -> None:
    """Add the pages."""
    parts = site.parts

    @site.page("/ui/workers")
    def workers() -> Response:
        known = if_there(parts.workers.all)
        listed = page(known or [], request.args.get("page"))
        return site.render(
            "workers.html",
            listed=listed,
            shown=None if known is None else [_shown(worker) for worker in listed.items],
            consumers={name: state.consumers for name, state in list(parts.queues.states().items())[:200]},
        )

    @site.action("/ui/workers/drain", "admin")
    def drain_worker() -> Response:
        parts.workers.drain(request.form.get("worker", ""))
        return site.done("draining", "workers")

    @site.action("/ui/workers/undrain", "admin")
    def undrain_worker() -> Response:
        parts.workers.undrain(request.form.get("worker", ""))
        return site.done("undraining", "workers")


def _shown(worker: Worker) -> views.Document:
    running = [{**row, "started_at": views.time(row["started_ms"])} for row in worker.running[:_JOBS]]
    return {
        "name": worker.name,
        "running": running,
        "more": max(len(worker.running) - _JOBS, 0),
        "seen_at": views.time(worker.seen_ms),
        "draining": worker.draining,
    }
