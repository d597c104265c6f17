"""What `warren doctor` makes of what it sees. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from warren.client import Health, QueueView
from warren.topology import level_name, queue_name

OLDEST_BROKER: Final = (3, 10)
DEFAULT_CONSUMER_TIMEOUT_SECONDS: Final = 1800
_HANDING_ON: Final = (queue_name("x").removesuffix("x"), level_name(0).removesuffix("00"))
"""Prefixes of queues that hand messages on."""
_SHOWN: Final = 5


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
        fix="`warren topology repair` brings back those whose queue exists now and lists the others; with --create it "
        "makes the missing queues",
    )


def of_behaviour(behaviour: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Judge what is in effect on the queues that hand messages on.

    Without reject-publish RabbitMQ silently turns at-least-once into at-most-once
    (https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering); a job queue that refuses
    holds up the delay ladder for all (docs/adr/0007-length-limit-at-submit.md).
    """
    handing_on = {name: held for name, held in behaviour.items() if name.startswith(_HANDING_ON)}
    careless = [name for name, held in handing_on.items() if not _keeps(held)]
    bounded = [
        name
        for name, held in handing_on.items()
        if name.startswith(_HANDING_ON[0]) and {"max-length", "max-length-bytes"} & held.keys()
    ]
    if not careless and not bounded:
        return [Finding(check="dead-lettering", level="ok", message=f"at least once on {len(handing_on)} queues")]
    found = []
    if careless:
        found.append(
            Finding(
                check="dead-lettering",
                level="broken",
                message=f"{_some(careless)}: not at-least-once with reject-publish to an exchange; jobs can be lost",
                fix="remove the policy or queue argument that beats Warren's, then run `warren topology apply`",
            )
        )
    if bounded:
        found.append(
            Finding(
                check="dead-lettering",
                level="broken",
                message=f"{_some(bounded)}: a length limit on the broker; when full, it holds up delayed jobs of all "
                "queues",
                fix="remove it and set the limit with `warren queues limits NAME --max-length N`",
            )
        )
    return found


def of_long_tasks(version: str, timeouts: Mapping[str, float]) -> list[Finding]:
    """Judge tasks that may run longer than an old broker waits for them."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) >= (3, 12):
        return []
    long = [name for name, seconds in timeouts.items() if seconds >= DEFAULT_CONSUMER_TIMEOUT_SECONDS]
    if not long:
        return []
    return [
        Finding(
            check="long tasks",
            level="note",
            message=f"{_some(long)}: may run for {DEFAULT_CONSUMER_TIMEOUT_SECONDS} s or longer, after which RabbitMQ "
            f"{version} hands a job out again unless its consumer_timeout is longer",
            fix=f"set consumer_timeout in rabbitmq.conf above {int(max(timeouts.values()) * 1000)} (milliseconds), or "
            "upgrade to 3.12 or newer",
        )
    ]


def of_queues(queues: Sequence[QueueView]) -> list[Finding]:
    """Judge how the server says queues are worked on."""
    found = []
    paused = [queue.name for queue in queues if queue.paused]
    if paused:
        found.append(
            Finding(
                check="queues",
                level="note",
                message=f"{_some(paused)}: paused, their jobs wait",
                fix="`warren queues resume NAME`, when they are to go on",
            )
        )
    for queue in queues:
        for kind, tokens in (queue.tokens or {}).items():
            if tokens.present < tokens.wanted:
                found.append(
                    Finding(
                        check="queues",
                        level="note",
                        message=f"{queue.name} has {tokens.present} of {tokens.wanted} tokens ({kind}): fewer of its "
                        "jobs may run than its limits say",
                        fix="wait: a server makes new ones when some are missing for half a minute; else see its log",
                    )
                )
    return found or [Finding(check="queues", level="ok", message=f"{len(queues)} queues, none paused")]


def of_hidden_queues(error: Exception) -> Finding:
    """Say that the server's queues could not be looked at."""
    return Finding(
        check="queues",
        level="note",
        message=f"not looked at: {error}",
        fix="set WARREN_TOKEN to a token with the scope read",
    )


def _keeps(held: Mapping[str, Any]) -> bool:
    return (
        bool(held.get("dead-letter-exchange"))
        and held.get("dead-letter-strategy") == "at-least-once"
        and held.get("overflow") == "reject-publish"
    )


def _some(names: Sequence[str]) -> str:
    """List names, the first few."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


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
