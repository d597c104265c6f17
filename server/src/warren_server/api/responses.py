"""Answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask import Response


def answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Make a JSON answer that nobody caches."""
    # ASCII: results come from tasks and may hold lone surrogates, which UTF-8 cannot.
    response = Response(json.dumps(document), status=status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(dict(headers or {}))
    return response
