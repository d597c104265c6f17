"""Routes for probes and metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from warren_server.api.openapi import document
from warren_server.api.problems import Refusal
from warren_server.api.responses import answer

Checks = Callable[[], Mapping[str, bool]]
NEEDED = ("broker", "serving")
"""Checks that must hold to take jobs; without the store the server takes them all the same."""


def routes(checks: Checks) -> Blueprint:
    """Make the routes."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return answer({"alive": True})

    @blueprint.get("/readyz")
    def readyz() -> Response:
        found = checks()
        failed = [name for name in NEEDED if not found[name]]
        if not failed:
            return answer({"ready": True, **found})
        response = Refusal("not-ready", f"not ready: {', '.join(failed)}").response()
        return answer({**(response.get_json(force=True)), "ready": False, **found}, 503, {"Retry-After": "2"})

    @blueprint.get("/metrics")
    def metrics() -> Response:
        registry: CollectorRegistry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return answer(document())

    return blueprint
