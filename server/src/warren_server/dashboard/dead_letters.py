"""Dead letters: grouped by error, looked at, edited and retried."""

from __future__ import annotations

from typing import Any, Final

from flask import Response, request

from warren_server.api import dead_letters as letters_api
from warren_server.api import views
from warren_server.api.dead_letter_requests import DeadLettersQuery
from warren_server.api.problems import Refusal, refusal_for
from warren_server.api.requests import validate
from warren_server.api.retries import changes_of
from warren_server.dashboard.forms import given
from warren_server.dashboard.retrying import editing, editing_failed, retry_request, trace_link
from warren_server.dashboard.site import Site

FIELDS: Final = ("queue", "task", "error", "reason", "outcome", "worker", "since", "until", "job")
_GROUPS: Final = 50
_NOTHING: Final[dict[str, Any]] = {"total": 0, "groups": []}


def add(site: Site) -> None:
    """Add the pages."""
    letters = site.parts.letters

    @site.page("/ui/dead-letters")
    def dead_letters() -> Response:
        typed = given(request.args, FIELDS)
        refused: Refusal | None = None
        found: views.Document = {"dead_letters": [], "cursor": None}
        summary = _NOTHING
        try:
            asked = validate(DeadLettersQuery, {**typed, **given(request.args, ("cursor",))})
            found = letters_api.page(letters, asked)
            summary = letters_api.summary(letters, asked.wanted, _GROUPS)
        except Refusal as refusal:
            refused = refusal
        return site.render(
            "dead_letters.html",
            200 if refused is None else refused.status,
            typed=typed,
            found=found,
            summary=summary,
            most=_GROUPS,
            refused=refused,
        )

    @site.page("/ui/dead-letters/<letter>")
    def dead_letter(letter: str) -> Response:
        return _show(letter)

    @site.action("/ui/dead-letters/<letter>/retry", "submit")
    def retry_letter(letter: str) -> Response:
        row = letters_api.existing(letters, letter)
        try:
            job = site.parts.retrier.retry(letter, changes_of(retry_request(request.form, row)))
        except Exception as error:
            if not editing_failed(error):
                raise
            return _show(letter, refusal_for(error))
        return site.done("retried", "job", job=job)

    def _show(letter: str, refused: Refusal | None = None) -> Response:
        row = letters_api.existing(letters, letter)
        shown = views.dead_letter(row, whole=True)
        return site.render(
            "dead_letter.html",
            200 if refused is None else refused.status,
            letter=shown,
            size=len(row["body"]),
            editing=editing(row, request.form),
            trace=trace_link(row, site.parts.config.offer.trace_url),
            refused=refused,
        )
