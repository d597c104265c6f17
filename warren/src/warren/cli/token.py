"""`warren token`: make, list and revoke API tokens."""

from __future__ import annotations

import click

from warren.cli.output import Output, note
from warren.cli.parameters import DURATION, with_server
from warren.client import Client


@click.group()
def token() -> None:
    """Make, list and revoke API tokens; needs a token with scope admin."""


@token.command()
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["submit", "read", "admin"]),
    multiple=True,
    required=True,
    help="What it may do; may be given more than once.",
)
@click.option("--name", default="", help="What it is for.")
@click.option("--expires-in", type=DURATION, help="When it ends: 12h, 90d. Never unless given.")
@click.option("--tenant", help="Whose jobs it submits and sees; of all tenants unless given.")
@with_server
def create(
    client: Client, out: Output, scopes: tuple[str, ...], name: str, expires_in: float | None, tenant: str | None
) -> None:
    """Make a token; it is printed now and never again."""
    made = client.create_token(scopes, name, expires_in, tenant)
    if out.as_json:
        out.document(made)
        return
    out.text(made.token or "")
    note(f"token {made.id} made; this is the only time it is shown")


@token.command("list")
@with_server
def list_tokens(client: Client, out: Output) -> None:
    """List the tokens, without their secrets."""
    found = client.tokens()
    rows = [
        (item.id, item.name, ", ".join(item.scopes), item.tenant, item.created_at, item.expires_at) for item in found
    ]
    out.table(found, ("id", "name", "scopes", "tenant", "made", "ends"), rows)


@token.command()
@click.argument("token_id", metavar="ID")
@with_server
def revoke(client: Client, out: Output, token_id: str) -> None:
    """Revoke a token at once."""
    client.revoke_token(token_id)
    if out.as_json:
        out.document({"id": token_id, "revoked": True})
    else:
        note(f"token {token_id} revoked")
