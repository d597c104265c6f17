"""`python -m warren_server`: run the server, make the first token, or bring the store's schema up to date.

Exit status: 0 after an orderly stop, 2 when a setting is wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

from warren.envelope import TENANT
from warren.errors import SettingsError
from warren.logs import configure_logs
from warren.settings import LogSettings, load

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    asked = _parser().parse_args(arguments)
    try:
        configure_logs(load(LogSettings), process="server")
        match asked.command:
            case "token":
                return _create_token(asked)
            case "migrate":
                return _migrate()
            case _:
                return _serve()
    except SettingsError as error:
        print(f"warren_server: {error}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 2


def _serve() -> int:
    # Processes share metrics by files in a folder that prometheus_client looks for when it is imported.
    folder = tempfile.mkdtemp(prefix="warren-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    owner = os.getpid()
    try:
        from warren_server.auth import refuse_open_door
        from warren_server.parts import read_config
        from warren_server.serving import Server
        from warren_server.store.engine import Database
        from warren_server.store.tokens import TokenStore

        config = read_config()
        database = Database(config.store)
        try:
            refuse_open_door(config.server, config.auth, TokenStore(database))
        finally:
            database.close()
        Server(config).run()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    finally:
        # The processes that gunicorn forks leave through here too.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _migrate() -> int:
    from warren_server.errors import StoreError
    from warren_server.settings import StoreSettings
    from warren_server.store.engine import Database

    database = Database(load(StoreSettings))
    try:
        database.migrate()
    except StoreError as error:
        raise SettingsError(f"WARREN_STORE_URL is {database.address}: {error}") from error
    finally:
        database.close()
    logger.info("the store's schema is up to date", extra={"event": "schema_ready", "store": database.address})
    return 0


def _create_token(asked: argparse.Namespace) -> int:
    from warren_server.errors import StoreError
    from warren_server.settings import StoreSettings
    from warren_server.store.engine import Database
    from warren_server.store.tokens import SCOPES, TokenStore

    scopes = [scope for scope in asked.scopes.replace(",", " ").split() if scope]
    if not scopes or not set(scopes) <= set(SCOPES):
        raise SettingsError(f"--scopes is {asked.scopes!r}: must be some of {', '.join(SCOPES)}")
    if asked.tenant is not None and not TENANT.fullmatch(asked.tenant):
        raise SettingsError(f"--tenant is {asked.tenant!r:.100}: must match {TENANT.pattern}")
    database = Database(load(StoreSettings))
    try:
        _, secret = TokenStore(database).create(asked.name, scopes, asked.expires_in, asked.tenant)
    except StoreError as error:
        raise SettingsError(f"WARREN_STORE_URL is {database.address}: {error}") from error
    finally:
        database.close()
    print(secret)  # noqa: T201 - the one time it is shown
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m warren_server", description="Run Warren's HTTP server.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("migrate", help="bring the store's schema up to date and exit; any server does so at its start")
    token = commands.add_parser("token", help="manage bearer tokens in the store")
    actions = token.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a token and print its secret")
    create.add_argument("--scopes", required=True, help="submit, read, admin; separated by commas")
    create.add_argument("--name", default="", help="what it is for")
    create.add_argument("--expires-in", type=float, default=None, help="seconds until it ends; never unless given")
    create.add_argument("--tenant", default=None, help="whose jobs it is for; of all tenants unless given")
    return parser


if __name__ == "__main__":
    sys.exit(main())
