"""Routes for dead letters, listed, counted, deleted one by one."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.dead_letter_requests import DeadLetterFilterRequest, DeadLettersQuery
from warren_server.api.problems import Refusal
from warren_server.api.requests import is_job_id, query
from warren_server.api.responses import answer
from warren_server.store.dead_letters import DeadLetterFilter, DeadLetterStore
from warren_server.store.fold import Row

_MAX_GROUPS = 1000


def routes(letters: DeadLetterStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("dead_letters", __name__)

    @blueprint.get("/v1/dead-letters")
    def list_dead_letters() -> Response:
        return answer(page(letters, query(DeadLettersQuery, request)))

    @blueprint.get("/v1/dead-letters/summary")
    def summarise_dead_letters() -> Response:
        return answer(summary(letters, query(DeadLetterFilterRequest, request).wanted, _MAX_GROUPS))

    @blueprint.get("/v1/dead-letters/<letter>")
    def get_dead_letter(letter: str) -> Response:
        return answer(views.dead_letter(existing(letters, letter), whole=True))

    @blueprint.delete("/v1/dead-letters/<letter>")
    def delete_dead_letter(letter: str) -> Response:
        existing(letters, letter)
        if not letters.purge_one(letter, time.time_ns() // 1_000_000):
            raise Refusal("dead-letter-busy", f"dead letter {letter} is at the hand of a redrive or a retry")
        return Response(status=204)

    return blueprint


def page(letters: DeadLetterStore, asked: DeadLettersQuery) -> views.Document:
    """Show a page of dead letters, with the cursor of the next one if there is one.

    Raises:
        Refusal: The cursor is none.
    """
    found = letters.list(asked.wanted, asked.limit + 1, _cursor(asked.cursor))
    listed = found[: asked.limit]
    cursor = f"{listed[-1]['at_ms']}.{listed[-1]['id']}" if len(found) > asked.limit else None
    return {"dead_letters": [views.dead_letter(row) for row in listed], "cursor": cursor}


def summary(letters: DeadLetterStore, wanted: DeadLetterFilter, most: int) -> views.Document:
    """Count dead letters by queue, task and class of error: show the largest groups, and how many there are in all."""
    groups = letters.groups(wanted, most)
    total = sum(group["letters"] for group in groups) if len(groups) < most else letters.count(wanted)
    return {"total": total, "groups": [views.dead_letter_group(group) for group in groups]}


def existing(letters: DeadLetterStore, letter: str) -> Row:
    """Return a dead letter.

    Raises:
        Refusal: There is none of that id.
    """
    row = letters.get(letter) if is_job_id(letter) else None
    if row is None:
        raise Refusal("unknown-dead-letter", f"there is no dead letter {letter!r:.100}")
    return row


def _cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    at_ms, _, letter = text.partition(".")
    if not (at_ms.isascii() and at_ms.isdigit() and len(at_ms) < 17 and is_job_id(letter)):
        raise Refusal("invalid-request", "cursor: must be the cursor of a page before")
    return int(at_ms), letter
