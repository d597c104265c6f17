"""What `warren doctor` makes of what it sees. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from warren.client import Health

OLDEST_BROKER: Final = (3, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing the doctor looked at.

    Attributes:
        check: What was looked at.
        level: `ok`; `note` for what works but could be better; `broken` for what does not work.
        message: What was found.
        fix: What to do about it.
    """

    check: str
    level: Literal["ok", "note", "broken"]
    message: str
    fix: str = ""


def of_version(version: str) -> list[Finding]:
    """Judge the broker's version: what an older one cannot do.

    The sources are RabbitMQ's own notes: https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout (per-consumer
    timeouts, 3.12) and the release notes of 4.3 (returns that do not count, 32 priorities in quorum queues).
    """
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        return [Finding(check="broker version", level="note", message=f"RabbitMQ says it is {version!r}")]
    number = (int(found[1]), int(found[2]))
    if number < OLDEST_BROKER:
        return [
            Finding(
                check="broker version",
                level="broken",
                message=f"RabbitMQ {version} is older than 3.10: quorum queues have no time to live there",
                fix="upgrade RabbitMQ to 3.10 or newer; 4.3 is the target",
            )
        ]
    limits = [Finding(check="broker version", level="ok", message=f"RabbitMQ {version}")]
    if number < (3, 12):
        limits.append(
            Finding(
                check="broker feature",
                level="note",
                message="before 3.12 a consumer cannot choose its timeout: jobs longer than the broker's "
                "consumer_timeout (30 min) are handed out twice",
                fix="upgrade to 3.12 or newer, or raise consumer_timeout in rabbitmq.conf above your longest task",
            )
        )
    if number < (4, 3):
        limits.append(
            Finding(
                check="broker feature",
                level="note",
                message="before 4.3 every return of a job looks like a failed delivery, a drain's too: the job is not "
                "charged, but its attempt number rises, and after 25 returns it goes to the end of its queue; "
                "priorities are few",
                fix="upgrade to 4.3 or newer",
            )
        )
    return limits


def of_policies(missing: Sequence[str]) -> Finding:
    """Judge the policies Warren needs on the broker."""
    if not missing:
        return Finding(check="broker policies", level="ok", message="all policies are as they must be")
    return Finding(
        check="broker policies",
        level="broken",
        message=f"missing or different: {', '.join(missing)}",
        fix="start a server or a worker with WARREN_AMQP_TOPOLOGY=apply and a login that may set policies, or have the "
        "broker's operator apply them",
    )


def of_unroutable(depth: int) -> Finding:
    """Judge how many messages found no queue."""
    if depth == 0:
        return Finding(check="unroutable messages", level="ok", message="none")
    return Finding(
        check="unroutable messages",
        level="note",
        message=f"{depth} messages came due for a queue that does not exist; they wait in warren.unroutable",
        fix="start a worker or server that knows their queue, then move them back",
    )


def of_health(url: str, health: Health) -> Finding:
    """Judge what the server says of itself."""
    if health.ready:
        return Finding(check="server", level="ok", message=f"{url} takes jobs")
    return Finding(
        check="server",
        level="broken",
        message=f"{url} answers but takes no jobs: {dict(health.checks)}",
        fix="see the server's log; most often its broker or its store is away",
    )


def of_tasks(names: Sequence[str], modules: str) -> Finding:
    """Judge the tasks that could be imported."""
    if not modules.strip():
        return Finding(
            check="tasks",
            level="note",
            message="WARREN_TASKS is not set, so no tasks were looked at",
            fix="set WARREN_TASKS to the modules that declare tasks, separated by commas",
        )
    if not names:
        return Finding(
            check="tasks",
            level="broken",
            message=f"{modules} declares no task",
            fix="decorate a function with @task there, or name the right module in WARREN_TASKS",
        )
    return Finding(check="tasks", level="ok", message=f"{len(names)} tasks: {', '.join(names)}")
