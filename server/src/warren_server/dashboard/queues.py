"""Queues: what waits in each, and pausing, resuming and purging them."""

from __future__ import annotations

import logging

from flask import Response, request

from warren_server.api.queues import all_queues, existing, one_queue
from warren_server.dashboard import history
from warren_server.dashboard.charts import chart
from warren_server.dashboard.forms import wrong
from warren_server.dashboard.paging import page
from warren_server.dashboard.reading import if_there
from warren_server.dashboard.site import Site

logger = logging.getLogger(__name__)


def add(site: Site) -> None:
    """Add the pages."""
    parts = site.parts

    @site.page("/ui/queues")
    def queues() -> Response:
        listed = all_queues(parts.queues, if_there(site.counts.get), if_there(parts.queue_settings.all))
        return site.render("queues.html", listed=page(listed, request.args.get("page")))

    @site.page("/ui/queues/<queue>")
    def queue(queue: str) -> Response:
        return _show(queue)

    @site.action("/ui/queues/<queue>/pause", "admin")
    def pause_queue(queue: str) -> Response:
        existing(parts.queues, queue)
        parts.queue_control.pause(queue, paused=True)
        return site.done("paused", "queue", queue=queue)

    @site.action("/ui/queues/<queue>/resume", "admin")
    def resume_queue(queue: str) -> Response:
        existing(parts.queues, queue)
        parts.queue_control.pause(queue, paused=False)
        return site.done("resumed", "queue", queue=queue)

    @site.action("/ui/queues/<queue>/purge", "admin")
    def purge_queue(queue: str) -> Response:
        existing(parts.queues, queue)
        typed = request.form.get("confirm", "").strip()
        if typed != queue:
            return _show(queue, refused=wrong("confirm", "name", f"must be the queue's name, {queue}"), typed=typed)
        parts.queue_control.purge(queue)
        logger.warning("queue %s is purged", queue, extra={"event": "queue_purged", "queue": queue})
        return site.done("purged", "queue", queue=queue)

    def _show(queue: str, refused: Exception | None = None, typed: str = "") -> Response:
        shown = one_queue(parts.queues, queue, if_there(site.counts.get), if_there(parts.queue_settings.all))
        samples = parts.history.of(queue)
        lines = [
            ("waiting", [sample.ready for sample in samples]),
            ("handed out", [sample.unacked for sample in samples]),
        ]
        return site.render(
            "queue.html",
            200 if refused is None else 422,
            queue=shown,
            chart=chart(lines, history.SPAN),
            refused=refused,
            typed=typed,
        )
