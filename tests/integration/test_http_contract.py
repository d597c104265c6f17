"""The live application against its own OpenAPI document, with requests made up from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server_kit import running
from warren_server.api.routes import ROUTES

ROUTES_TESTED = [(route.method, route.path) for route in ROUTES if not route.tutorial]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("api")
    with running(folder, auth="none") as kit:
        yield schemathesis.openapi.from_wsgi("/openapi.json", kit.client.application)


@pytest.mark.parametrize(("method", "path"), ROUTES_TESTED)
def test_answers_are_as_documented(api: Any, method: str, path: str) -> None:
    operation = api[path][method]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case: schemathesis.Case) -> None:
        # The wait is real time: a made-up one would be a minute.
        case.query.pop("wait", None)
        case.call_and_validate(
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ]
        )

    call()
