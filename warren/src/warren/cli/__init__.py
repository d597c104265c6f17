"""The command line, `warren`."""

from __future__ import annotations

from typing import Any

import click

from warren.cli.bench import bench
from warren.cli.cancel import cancel
from warren.cli.completion import completion, version
from warren.cli.dead import dead
from warren.cli.doctor import doctor
from warren.cli.exits import EPILOG, failure
from warren.cli.jobs import jobs, status, watch
from warren.cli.queues import queues
from warren.cli.run import server, worker
from warren.cli.schedules import schedules
from warren.cli.submit import submit
from warren.cli.tasks import tasks
from warren.cli.token import token
from warren.cli.topology import topology
from warren.cli.up import up
from warren.errors import WarrenError

__all__ = ["main"]


class Root(click.Group):
    """The root command: Warren's errors become one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WarrenError as error:
            raise failure(error) from error


@click.group(cls=Root, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Warren: background jobs on RabbitMQ and Kubernetes.

    The server is found by WARREN_URL (http://127.0.0.1:8000 unless set), the token comes from WARREN_TOKEN.
    """


for command in (
    server, worker, up, submit, status, watch, cancel, jobs, queues, tasks, dead,
    schedules, token, topology, doctor, bench, completion, version,
):  # fmt: skip
    main.add_command(command)
