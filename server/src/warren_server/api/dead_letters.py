"""Routes for dead letters, listed, counted, deleted one by one."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.dead_letter_requests import DeadLetterFilterRequest, DeadLettersQuery
from warren_server.api.problems import Refusal
from warren_server.api.requests import is_job_id, query
from warren_server.api.responses import answer
from warren_server.store.dead_letters import DeadLetterStore

_MAX_GROUPS = 1000


def routes(letters: DeadLetterStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("dead_letters", __name__)

    @blueprint.get("/v1/dead-letters")
    def list_dead_letters() -> Response:
        asked = query(DeadLettersQuery, request)
        found = letters.list(asked.wanted, asked.limit + 1, _cursor(asked.cursor))
        page = found[: asked.limit]
        cursor = f"{page[-1]['at_ms']}.{page[-1]['id']}" if len(found) > asked.limit else None
        return answer({"dead_letters": [views.dead_letter(row) for row in page], "cursor": cursor})

    @blueprint.get("/v1/dead-letters/summary")
    def summarise_dead_letters() -> Response:
        wanted = query(DeadLetterFilterRequest, request).wanted
        groups = letters.groups(wanted, _MAX_GROUPS)
        total = sum(group["letters"] for group in groups) if len(groups) < _MAX_GROUPS else letters.count(wanted)
        return answer({"total": total, "groups": [views.dead_letter_group(group) for group in groups]})

    @blueprint.get("/v1/dead-letters/<letter>")
    def get_dead_letter(letter: str) -> Response:
        row = letters.get(letter) if is_job_id(letter) else None
        if row is None:
            raise _unknown(letter)
        return answer(views.dead_letter(row, whole=True))

    @blueprint.delete("/v1/dead-letters/<letter>")
    def delete_dead_letter(letter: str) -> Response:
        if not is_job_id(letter) or letters.get(letter) is None:
            raise _unknown(letter)
        if not letters.purge_one(letter, time.time_ns() // 1_000_000):
            raise Refusal("dead-letter-busy", f"dead letter {letter} is at the hand of a redrive or a retry")
        return Response(status=204)

    return blueprint


def _unknown(letter: str) -> Refusal:
    return Refusal("unknown-dead-letter", f"there is no dead letter {letter!r:.100}")


def _cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    at_ms, _, letter = text.partition(".")
    if not (at_ms.isascii() and at_ms.isdigit() and len(at_ms) < 17 and is_job_id(letter)):
        raise Refusal("invalid-request", "cursor: must be the cursor of a page before")
    return int(at_ms), letter
