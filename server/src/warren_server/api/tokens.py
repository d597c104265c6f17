"""Routes for tokens, for administrators."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, request

from warren_server.api import views
from warren_server.api.problems import Refusal
from warren_server.api.requests import TokenRequest, is_job_id, read_body, validate
from warren_server.api.responses import answer
from warren_server.store.tokens import TokenStore

logger = logging.getLogger(__name__)


def routes(tokens: TokenStore) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("tokens", __name__)

    @blueprint.post("/v1/tokens")
    def create_token() -> Response:
        asked = validate(TokenRequest, read_body(request))
        token, secret = tokens.create(asked.name, asked.scopes, asked.expires_in, asked.tenant)
        logger.info("token %s made", token.id, extra={"event": "token_created", "token": token.id})
        return answer(views.token(token, secret), 201)

    @blueprint.get("/v1/tokens")
    def list_tokens() -> Response:
        return answer({"tokens": [views.token(token) for token in tokens.all()]})

    @blueprint.delete("/v1/tokens/<token>")
    def revoke_token(token: str) -> Response:
        if not is_job_id(token) or not tokens.revoke(token):
            raise Refusal("unknown-token", f"there is no token {token!r:.100} to revoke")
        logger.info("token %s revoked", token, extra={"event": "token_revoked", "token": token})
        return Response(status=204)

    return blueprint
