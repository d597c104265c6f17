"""One load on the installation, from its first submit to the judgement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from e2e.commands import forwarded
from e2e.installation import Installation
from e2e.under_load.ends import Ends, watched
from e2e.under_load.load import MIX, RATE, Account, Load, account, settled

SERVERS = "app.kubernetes.io/component=server"
WORKERS = "app.kubernetes.io/component=worker"
BROKERS = "app.kubernetes.io/name=warren-rabbitmq"
OURS = "app.kubernetes.io/component in (server, worker)"


class Strain:
    """A load that runs, and what becomes of the pods meanwhile.

    Attributes:
        load: The load.
        ends: How servers and workers ended.
        jobs: What the server tells of the jobs, when all is judged.
    """

    def __init__(self, installation: Installation, load: Load, ends: Ends) -> None:
        self._installation = installation
        self.load = load
        self.ends = ends
        self.jobs: list[dict[str, Any]] = []

    def judge(self, timeout_seconds: float = 120) -> Account:
        """Stop the load, wait for its jobs to end, and judge.

        Args:
            timeout_seconds: How long the jobs may take after the last submit.
        """
        submits = self.load.stop()
        with server(self._installation) as api:
            self.jobs = settled(api, submits, timeout_seconds)
        return account(submits, self.jobs)


@contextmanager
def server(installation: Installation) -> Iterator[httpx.Client]:
    """Reach a server, as its administrator."""
    namespace = installation.namespace
    headers = {"Authorization": f"Bearer {namespace.secret('warren-tokens')['token']}"}
    with (
        forwarded(namespace.name, "service/warren-server", 80) as (port,),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False) as api,
    ):
        yield api


@contextmanager
def strain(
    installation: Installation, name: str, *, rate: float = RATE, mix: Sequence[Mapping[str, Any]] = MIX
) -> Iterator[Strain]:
    """Load the installation and watch its pods; the block begins when jobs are being taken.

    Args:
        installation: Which.
        name: Name of the load.
        rate: Jobs a second.
        mix: Sorts of jobs.
    """
    namespace = installation.namespace
    load = Load(
        namespace,
        image=f"{installation.images.prefix}worker:{installation.images.tag}",
        url=f"http://warren-server.{namespace.name}.svc",
        token_secret="warren-tokens",
        name=name,
        rate=rate,
        mix=mix,
    )
    with watched(namespace.name, OURS) as ends, load:
        load.wait_accepted(int(rate * 3))
        yield Strain(installation, load, ends)
