"""Routes for what is done to many dead letters: redrives and purges."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.dead_letter_requests import PurgeRequest, RedriveRequest
from warren_server.api.problems import Refusal
from warren_server.api.requests import is_job_id, read_body, validate
from warren_server.api.responses import answer
from warren_server.redriver import Redriver
from warren_server.store.dead_letters import DeadLetterFilter, DeadLetterStore
from warren_server.store.redrives import Redrive, RedriveStore

logger = logging.getLogger(__name__)

_LATEST: Final = 100
_SAMPLE: Final = 10
_PURGE_BATCH: Final = 1000
_PURGE_SECONDS: Final = 20.0
"""How long one request purges; what is left then takes another."""


def routes(redriver: Redriver, redrives: RedriveStore, letters: DeadLetterStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("redrives", __name__)

    @blueprint.post("/v1/dead-letters/redrive")
    def begin_redrive() -> Response:
        asked = validate(RedriveRequest, read_body(request))
        wanted = asked.filter.wanted
        if asked.dry_run:
            return answer(dry_run(letters, wanted))
        begun = redriver.begin(wanted, asked.rate)
        logger.info(
            "redrive %s of %d dead letters asked for", begun.id, begun.total, extra={"event": "redrive_created"}
        )
        document = views.redrive(begun)
        return answer(document, 202, {"Location": document["url"]})

    @blueprint.get("/v1/dead-letters/redrives")
    def list_redrives() -> Response:
        return answer({"redrives": [views.redrive(found) for found in redrives.list(_LATEST)]})

    @blueprint.get("/v1/dead-letters/redrives/<redrive>")
    def get_redrive(redrive: str) -> Response:
        return answer(views.redrive(existing(redrives, redrive)))

    @blueprint.post("/v1/dead-letters/redrives/<redrive>/stop")
    def stop_redrive(redrive: str) -> Response:
        redrives.stop(existing(redrives, redrive).id, _now_ms())
        return answer(views.redrive(existing(redrives, redrive)))

    @blueprint.post("/v1/dead-letters/purge")
    def purge_dead_letters() -> Response:
        asked = validate(PurgeRequest, read_body(request))
        wanted = asked.filter.wanted
        if asked.dry_run:
            return answer(dry_run(letters, wanted))
        count, complete = _purge(letters, wanted)
        logger.warning("purged %d dead letters", count, extra={"event": "dead_letters_purged", "purged": count})
        return answer({"dry_run": False, "count": count, "complete": complete, "sample": []})

    return blueprint


def existing(redrives: RedriveStore, redrive: str) -> Redrive:
    """Return a redrive.

    Raises:
        Refusal: There is none of that id.
    """
    found = redrives.get(redrive) if is_job_id(redrive) else None
    if found is None:
        raise Refusal("unknown-redrive", f"there is no redrive {redrive!r:.100}")
    return found


def dry_run(letters: DeadLetterStore, wanted: DeadLetterFilter) -> dict[str, Any]:
    """Count the dead letters that are meant, and show some."""
    sample = [views.dead_letter(row) for row in letters.list(wanted, _SAMPLE)]
    return {"dry_run": True, "count": letters.count(wanted), "complete": True, "sample": sample}


def _purge(letters: DeadLetterStore, wanted: DeadLetterFilter) -> tuple[int, bool]:
    """Purge in bounded transactions; tell how many, and whether that is all."""
    now_ms = _now_ms()
    deadline = time.monotonic() + _PURGE_SECONDS
    count = 0
    while time.monotonic() < deadline:
        purged = letters.purge(wanted, now_ms, now_ms, _PURGE_BATCH)
        count += purged
        if purged < _PURGE_BATCH:
            return count, True
    return count, False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
