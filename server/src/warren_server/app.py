"""The Flask application: wiring only."""

from __future__ import annotations

import re
import time
from typing import Final

from flask import Flask, Response, g, request

from warren import metrics
from warren_server.api import (
    cancel,
    dead_letters,
    health,
    jobs,
    problems,
    queue_control,
    queues,
    redrives,
    retries,
    scaling,
    schedules,
    tokens,
    tutorial,
)
from warren_server.api.problems import Refusal
from warren_server.api.requests import MAX_REQUEST_BYTES
from warren_server.api.routes import ROUTES
from warren_server.auth import Scope
from warren_server.dashboard import NAME as DASHBOARD
from warren_server.parts import Parts

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_VARIABLE: Final = re.compile(r"<(\w+)>")
_SCOPES: Final[dict[tuple[str, str], Scope | None]] = {(route.method, route.path): route.scope for route in ROUTES}
_FOR_TENANTS: Final = frozenset((route.method, route.path) for route in ROUTES if route.for_tenants)


def create_app(parts: Parts) -> Flask:
    """Make the application of one process.

    Args:
        parts: What it is made of; they need not be started.
    """
    app = Flask("warren_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.config["TRUSTED_HOSTS"] = parts.config.server.hosts
    # Redirects to a tidier path would hide which route was meant.
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    problems.install(app)
    _guard(app, parts)
    _measure(app)
    waiters = jobs.Waiters(parts.config.server.threads // 2)
    app.register_blueprint(jobs.routes(parts.keys, parts.jobs, waiters))
    app.register_blueprint(queues.routes(parts.queues, parts.config.tasks, parts.jobs, parts.queue_settings))
    app.register_blueprint(queue_control.routes(parts.queues, parts.queue_settings, parts.queue_control, parts.room))
    app.register_blueprint(scaling.routes(parts.queues, parts.queue_settings, parts.expectations, parts.config.scaling))
    app.register_blueprint(cancel.routes(parts.canceller, parts.jobs))
    app.register_blueprint(dead_letters.routes(parts.letters))
    app.register_blueprint(retries.routes(parts.retrier, parts.jobs))
    app.register_blueprint(redrives.routes(parts.redriver, parts.redrives, parts.letters))
    app.register_blueprint(tokens.routes(parts.tokens))
    app.register_blueprint(schedules.routes(parts.planner))
    app.register_blueprint(health.routes(parts.checks))
    if parts.config.offer.tutorial:
        app.register_blueprint(tutorial.routes(parts.submitter))
    if parts.config.offer.dashboard:
        # Imported where it is offered: a server without it starts without its templates.
        from warren_server.dashboard.pages import routes

        app.register_blueprint(routes(parts))
    return app


def _guard(app: Flask, parts: Parts) -> None:
    @app.before_request
    def guard() -> None:
        if "X-HTTP-Method-Override" in request.headers:
            raise Refusal("bad-request", "X-HTTP-Method-Override is not honoured; use the method itself")
        if request.url_rule is None:
            return
        if request.environ.get("PATH_INFO", "").startswith("//"):
            # Werkzeug drops leading slashes; a proxy's rules for paths may not.
            raise Refusal("not-found", "the path begins with more than one slash")
        method = "GET" if request.method in ("HEAD", "OPTIONS") else request.method
        if request.blueprint == DASHBOARD:
            # It guards itself: by sessions, and against forms of other sites.
            return
        # A route that is missing in the table is for administrators only.
        route = (method, _path(request.url_rule.rule))
        scope = _SCOPES.get(route, "admin")
        if request.method != "OPTIONS" and scope is not None:
            g.caller = parts.gate.check(request.headers.get("Authorization"), scope)
            if g.caller.tenant is not None and route not in _FOR_TENANTS:
                raise Refusal("forbidden", "this is about all tenants' jobs; the token is for one tenant only")


def _measure(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        route = "none" if request.url_rule is None else _path(request.url_rule.rule)
        method = request.method if request.method in _METHODS else "other"
        metrics.counter("warren_http_requests_total").labels(
            route=route, method=method, status=str(response.status_code)
        ).inc()
        if "began" in g:
            metrics.histogram("warren_http_request_seconds").labels(route=route).observe(time.perf_counter() - g.began)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _path(rule: str) -> str:
    return _VARIABLE.sub(r"{\1}", rule)
