"""Routes for dead letters."""

from __future__ import annotations

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.problems import Refusal
from warren_server.api.requests import DeadLettersQuery, is_job_id, query
from warren_server.api.responses import answer
from warren_server.store.dead_letters import DeadLetterFilter, DeadLetterStore


def routes(letters: DeadLetterStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("dead_letters", __name__)

    @blueprint.get("/v1/dead-letters")
    def list_dead_letters() -> Response:
        asked = query(DeadLettersQuery, request)
        wanted = DeadLetterFilter(queue=asked.queue, task=asked.task, before=_cursor(asked.cursor))
        found = letters.list(wanted, asked.limit + 1)
        page = found[: asked.limit]
        cursor = f"{page[-1]['at_ms']}.{page[-1]['id']}" if len(found) > asked.limit else None
        return answer({"dead_letters": [views.dead_letter(row) for row in page], "cursor": cursor})

    @blueprint.get("/v1/dead-letters/<letter>")
    def get_dead_letter(letter: str) -> Response:
        row = letters.get(letter) if is_job_id(letter) else None
        if row is None:
            raise Refusal("unknown-dead-letter", f"there is no dead letter {letter!r:.100}")
        return answer(views.dead_letter(row, whole=True))

    return blueprint


def _cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    at_ms, _, letter = text.partition(".")
    if not (at_ms.isascii() and at_ms.isdigit() and len(at_ms) < 17 and is_job_id(letter)):
        raise Refusal("invalid-request", "cursor: must be the cursor of a page before")
    return int(at_ms), letter
