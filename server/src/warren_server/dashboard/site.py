"""The site: which pages and actions there are, who may use them, and what every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, Response, g, render_template, request, url_for
from jinja2 import StrictUndefined

from warren.errors import WarrenError
from warren_server.api.caller import caller
from warren_server.api.problems import PROBLEMS, Refusal, refusal_for
from warren_server.auth import Caller, Scope
from warren_server.dashboard import NAME, origin, session
from warren_server.dashboard.assets import Assets
from warren_server.dashboard.notices import NOTICES
from warren_server.dashboard.remembered import Remembered
from warren_server.dashboard.text import FILTERS
from warren_server.errors import StoreDown, StoreError
from warren_server.parts import Parts

logger = logging.getLogger(__name__)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing written into a page runs or styles it, and nothing is loaded from elsewhere."""
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that browsers say `Origin: null` of our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_COUNTS_SECONDS: Final = 2.0
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PAGES: Final = (
    ("overview", "Overview"),
    ("queues", "Queues"),
    ("jobs", "Jobs"),
    ("dead_letters", "Dead letters"),
    ("schedules", "Schedules"),
    ("workers", "Workers"),
    ("tasks", "Tasks"),
    ("scaling", "Scaling"),
)

View = Callable[..., Response]


class Site:
    """Takes pages and actions, and guards them.

    Args:
        parts: What they show and steer.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.blueprint = Blueprint(NAME, __name__, template_folder="templates")
        self.counts = Remembered(_COUNTS_SECONDS, parts.jobs.counts)
        self._scopes: dict[str, Scope | None] = {}
        self._assets = Assets()
        self.blueprint.before_request(self._guard)
        self.blueprint.after_request(_dress)
        self.blueprint.context_processor(self._context)
        self.blueprint.record_once(_set_up_templates)
        for kind_of_error in (Refusal, WarrenError, StoreError, Exception):
            self.blueprint.register_error_handler(kind_of_error, self._answer_error)
        self.page("/ui/static/<digest>/<name>", None)(self.static_file)

    def page(self, path: str, scope: Scope | None = "read") -> Callable[[View], View]:
        """Add a page; its function's name is its endpoint.

        Args:
            path: Its path.
            scope: What a token needs; None for pages open to all.
        """
        return self._route(path, scope, "GET")

    def action(self, path: str, scope: Scope | None) -> Callable[[View], View]:
        """Add something that a form does."""
        return self._route(path, scope, "POST")

    def scopes(self) -> dict[str, Scope | None]:
        """Return what each endpoint needs."""
        return dict(self._scopes)

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """Make a page."""
        # Replaced: texts come from tasks and may hold lone surrogates, which UTF-8 cannot.
        html = render_template(template, **values).encode("utf-8", "replace")
        response = Response(html, status=status, content_type="text/html; charset=utf-8")
        response.headers["Cache-Control"] = "no-store"
        return response

    def done(self, notice: str, endpoint: str, **values: Any) -> Response:
        """Lead to a page after a form did what it was for, with a word on it."""
        assert notice in NOTICES  # noqa: S101 - our own table
        return lead(url_for(f"{NAME}.{endpoint}", **values, done=notice))

    def static_file(self, digest: str, name: str) -> Response:
        """Answer with a file that pages bring."""
        found = self._assets.get(digest, name)
        if found is None:
            raise Refusal("not-found", "there is no such file")
        return found.response()

    def _route(self, path: str, scope: Scope | None, method: str) -> Callable[[View], View]:
        def add(view: View) -> View:
            self._scopes[view.__name__] = scope
            self.blueprint.add_url_rule(path, view.__name__, view, methods=[method])
            return view

        return add

    def _guard(self) -> Response | None:
        if request.method not in _SAFE and not _from_a_page_of_ours():
            logger.warning("a form of another site was refused", extra={"event": "cross_site_refused"})
            raise Refusal("forbidden", "the request was not sent by a page of this dashboard; nothing was done")
        # An endpoint that nobody added is for administrators only.
        scope = self._scopes.get((request.endpoint or "").rpartition(".")[2], "admin")
        if scope is None or request.method == "OPTIONS":
            return None
        try:
            shown = session.authorization(request.headers.get("Authorization"), request.cookies)
            found = self.parts.gate.check(shown, scope)
        except Refusal as refusal:
            if refusal.kind != "unauthenticated" or request.method not in _SAFE or "HX-Request" in request.headers:
                raise
            return self._lead_in()
        refuse_tenants(found)
        g.caller = found
        return None

    def _lead_in(self) -> Response:
        """Lead somebody unknown to the sign-in."""
        here = request.full_path.removesuffix("?")
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # Who follows a link from elsewhere comes without the cookie, for it is strict. A page of ours that leads on
            # at once brings it along.
            return self.render("continue.html", here=here)
        return lead(url_for(f"{NAME}.sign_in", next=here))

    def _context(self) -> dict[str, Any]:
        known = "caller" in g
        status = self.parts.transport.status
        return {
            "asset": self._assets.url,
            "pages": _PAGES if known else (),
            "may": caller().may if known else (lambda _scope: False),
            "signed_in": session.authorization(None, request.cookies) is not None and known,
            "notice": NOTICES.get(request.args.get("done", "")),
            "here": request.full_path.removesuffix("?"),
            "broker": "away" if not status.connected else "blocked" if status.blocked else "connected",
            "store_down": g.get("store_down"),
        }

    def _answer_error(self, error: Exception) -> Response:
        if isinstance(error, StoreDown) and "caller" in g:
            g.store_down = str(error)
            found = self.parts.queues.states()
            return self.render("store_down.html", 503, depths=dict(list(found.items())[:200]), of=len(found))
        refusal = refusal_for(error)
        title = PROBLEMS[refusal.kind].title
        response = self.render("error.html", refusal.status, refusal=refusal, title=title)
        retry_after = PROBLEMS[refusal.kind].retry_after_seconds
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        if "Allow" in refusal.headers:
            response.headers["Allow"] = refusal.headers["Allow"]
        return response


def refuse_tenants(found: Caller) -> None:
    """Make sure that somebody may see the jobs of all.

    Raises:
        Refusal: They may see those of one tenant only.
    """
    if found.tenant is not None:
        raise Refusal("forbidden", "the dashboard shows the jobs of all tenants; the token is for one only")


def _from_a_page_of_ours() -> bool:
    told = request.headers
    return origin.own(told.get("Sec-Fetch-Site"), told.get("Origin"), told.get("Host"))


def lead(address: str) -> Response:
    """Lead the browser to another page of the dashboard."""
    return Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


def _dress(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


def _set_up_templates(state: Any) -> None:
    environment = state.app.jinja_env
    environment.undefined = StrictUndefined
    environment.trim_blocks = True
    environment.lstrip_blocks = True
    environment.filters.update(FILTERS)
