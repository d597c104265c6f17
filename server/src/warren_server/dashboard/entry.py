"""Signing in with an API token, and out."""

from __future__ import annotations

import logging

from flask import Response, request

from warren_server.api.problems import Refusal
from warren_server.dashboard import origin, session
from warren_server.dashboard.site import Site, lead, refuse_tenants

logger = logging.getLogger(__name__)


def add(site: Site) -> None:
    """Add the pages."""
    gate = site.parts.gate

    @site.page("/ui/sign-in", None)
    def sign_in() -> Response:
        try:
            gate.check(session.authorization(request.headers.get("Authorization"), request.cookies), "read")
        except Refusal:
            return site.render("sign_in.html", then=inside(request.args.get("next")), refused=None)
        return lead(inside(request.args.get("next")))

    @site.action("/ui/sign-in", None)
    def do_sign_in() -> Response:
        token, then = request.form.get("token", "").strip(), inside(request.form.get("next"))
        try:
            refuse_tenants(gate.check(session.bearer(token), "read"))
        except Refusal as refusal:
            logger.warning("a sign-in was refused: %s", refusal.kind, extra={"event": "sign_in_refused"})
            return site.render("sign_in.html", refusal.status, then=then, refused=refusal)
        logger.info("somebody signed in", extra={"event": "signed_in"})
        response = lead(then)
        session.begin(response, token, secure=request.is_secure or origin.secure(request.headers.get("Origin")))
        return response

    @site.action("/ui/sign-out", None)
    def sign_out() -> Response:
        response = site.done("signed-out", "sign_in")
        session.end(response)
        return response

    @site.page("/ui/<path:_rest>", None)
    def nowhere(_rest: str) -> Response:
        raise Refusal("not-found", "there is no such page")


def inside(address: str | None) -> str:
    """Return an address if it is a page of the dashboard, else its front page: nobody is led elsewhere."""
    if address is not None and address.isprintable() and "\\" not in address:
        path = address.partition("?")[0]
        if path == "/" or path.startswith("/ui/"):
            return address
    return "/"
