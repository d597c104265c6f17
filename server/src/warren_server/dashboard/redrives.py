"""Redrives: what would be moved, moving it, and how far that is."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from flask import Response, request

from warren_server.api import redrives as redrives_api
from warren_server.api import views
from warren_server.api.dead_letter_requests import DeadLetterFilterRequest, RedriveRequest
from warren_server.api.problems import Refusal
from warren_server.api.requests import validate
from warren_server.dashboard.dead_letters import FIELDS
from warren_server.dashboard.forms import given, numbers
from warren_server.dashboard.site import Site
from warren_server.store.redrives import RUNNING

logger = logging.getLogger(__name__)

_LATEST: Final = 50


def add(site: Site) -> None:
    """Add the pages."""
    parts = site.parts

    @site.page("/ui/dead-letters/redrive")
    def redrive_dry_run() -> Response:
        return _dry_run(given(request.args, FIELDS))

    @site.action("/ui/dead-letters/redrive", "admin")
    def begin_redrive() -> Response:
        wanted = given(request.form, FIELDS)
        try:
            rate = numbers(given(request.form, ("rate",)), decimal=("rate",))
            asked = validate(RedriveRequest, {"filter": wanted, "all": not wanted, **rate})
        except Refusal as refusal:
            return _dry_run(wanted, refusal)
        begun = parts.redriver.begin(asked.filter.wanted, asked.rate)
        logger.info(
            "redrive %s of %d dead letters asked for", begun.id, begun.total, extra={"event": "redrive_created"}
        )
        return site.done("redriving", "redrive", redrive=begun.id)

    @site.page("/ui/dead-letters/redrives")
    def redrives() -> Response:
        listed = [views.redrive(found) for found in parts.redrives.list(_LATEST)]
        return site.render("redrives.html", listed=listed, most=_LATEST)

    @site.page("/ui/dead-letters/redrives/<redrive>")
    def redrive(redrive: str) -> Response:
        found = redrives_api.existing(parts.redrives, redrive)
        return site.render("redrive.html", redrive=views.redrive(found), running=found.state == RUNNING)

    @site.action("/ui/dead-letters/redrives/<redrive>/stop", "admin")
    def stop_redrive(redrive: str) -> Response:
        found = redrives_api.existing(parts.redrives, redrive)
        parts.redrives.stop(found.id, time.time_ns() // 1_000_000)
        return site.done("stopped", "redrive", redrive=found.id)

    def _dry_run(typed: dict[str, Any], refused: Refusal | None = None) -> Response:
        wanted = validate(DeadLetterFilterRequest, typed).wanted
        return site.render(
            "redrive_dry_run.html",
            200 if refused is None else refused.status,
            typed=typed,
            rate=request.form.get("rate", ""),
            found=redrives_api.dry_run(parts.letters, wanted),
            refused=refused,
        )
