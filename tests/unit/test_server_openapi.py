from __future__ import annotations

from pathlib import Path

from server_kit import running
from warren_server.api.routes import ROUTES
from warren_server.app import create_app


def test_the_table_of_routes_is_what_the_application_serves(tmp_path: Path) -> None:
    with running(tmp_path, tutorial=True, dashboard=False) as kit:
        app = create_app(kit.parts)

    served = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {(route.method, route.path) for route in ROUTES}
