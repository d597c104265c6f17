"""Scaling: how many workers each queue should have, how many it has, and how both went."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from warren.errors import TransportError
from warren_server.api import scaling as scaling_api
from warren_server.api.problems import Refusal
from warren_server.api.requests import ScalingQuery
from warren_server.dashboard import history
from warren_server.dashboard.charts import chart
from warren_server.dashboard.paging import page
from warren_server.dashboard.site import Site


def add(site: Site) -> None:
    """Add the page."""
    parts = site.parts
    policy = scaling_api.policy_of(ScalingQuery(), parts.config.scaling)

    @site.page("/ui/scaling")
    def scaling() -> Response:
        listed = page(list(parts.queues.states()), request.args.get("page"))
        return site.render("scaling.html", listed=listed, shown=[_shown(name) for name in listed.items], policy=policy)

    def _shown(queue: str) -> dict[str, Any]:
        samples = parts.history.of(queue)
        lines = [
            ("desired", [sample.desired for sample in samples]),
            ("attached", [sample.workers for sample in samples]),
        ]
        drawn = chart(lines, history.SPAN)
        try:
            told = scaling_api.document(queue, policy, parts.queues, parts.queue_settings, parts.expectations)
        except (Refusal, TransportError) as error:
            return {"queue": queue, "told": None, "why": getattr(error, "detail", str(error)), "chart": drawn}
        return {"queue": queue, "told": told, "why": None, "chart": drawn}
