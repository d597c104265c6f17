"""The OpenAPI 3.1 document, made from the table of routes."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from warren import __version__
from warren_server.api.documents import ProblemDocument
from warren_server.api.problems import MEDIA_TYPE, PROBLEMS
from warren_server.api.routes import ROUTES, Route

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SECURITY: Final = "bearer"


def document() -> dict[str, Any]:
    """Describe every route but the tutorial's."""
    routes = [route for route in ROUTES if not route.tutorial]
    models = {
        model for route in routes for model in (route.body, route.answer, *(also for _, also in route.also)) if model
    } | {ProblemDocument}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Warren", "version": __version__, "description": "Submit background jobs and follow them."},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {_SECURITY: {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^a-z]+', '_', route.path).rstrip('_')}",
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _responses(route),
        "security": [{_SECURITY: []}] if route.scope else [],
    }
    if route.scope:
        operation["description"] = f"Needs the scope `{route.scope}`."
    if route.body is not None:
        needed = not route.body_optional
        operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": _ref(route.body)}}}
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in route.query.model_json_schema()["properties"].items()
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    if not route.keyed:
        return []
    told = (
        "1 to 255 visible ASCII characters in quotes, new for each submit. A request sent again with its key and body "
        "submits nothing again and gets the first answer, marked `Idempotent-Replayed: true`, for a day unless "
        "WARREN_SERVER_IDEMPOTENCY_SECONDS says otherwise."
    )
    schema = {"type": "string", "minLength": 1, "maxLength": 512}
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "description": told, "schema": schema}]


def _responses(route: Route) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        success["content"] = {"application/json": {"schema": _ref(route.answer)}}
    elif route.path == "/metrics":
        success["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif route.status != 204:
        success["content"] = {"application/json": {"schema": {"type": "object"}}}
    kinds: dict[str, list[str]] = {}
    for kind in route.all_problems:
        kinds.setdefault(str(PROBLEMS[kind].status), []).append(kind)
    problem = {MEDIA_TYPE: {"schema": _ref(ProblemDocument)}}
    answers = {status: {"description": _told(told), "content": problem} for status, told in sorted(kinds.items())}
    if route.path == "/readyz":
        content = {"application/json": {"schema": {"type": "object"}}}
        answers["503"] = {"description": _told(["not-ready"]), "content": content}
    others = {
        str(status): {"description": "Done.", "content": {"application/json": {"schema": _ref(model)}}}
        for status, model in route.also
    }
    return {str(route.status): success, **others, **answers}


def _told(kinds: list[str]) -> str:
    return " ".join(f"`{kind}`: {PROBLEMS[kind].title}" for kind in kinds)


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
