"""What `warren doctor` makes of what it sees. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from warren.cli.finding import Finding, Rule, ok, some
from warren.client import Health, QueueView
from warren.topology import level_name, queue_name

OLDEST_BROKER: Final = (3, 10)
DEFAULT_CONSUMER_TIMEOUT_SECONDS: Final = 1800
_HANDING_ON: Final = (queue_name("x").removesuffix("x"), level_name(0).removesuffix("00"))
"""Prefixes of queues that hand messages on."""

BAD_SETTING: Final = Rule(
    check="settings",
    level="broken",
    wrong="a variable has a value that its rule forbids",
    fix="set it to a value it takes",
)
BROKEN_TASKS: Final = Rule(
    check="tasks",
    level="broken",
    wrong="a task module cannot be imported",
    fix="put the module on PYTHONPATH and make it import without errors",
)
NO_BROKER: Final = Rule(
    check="broker",
    level="broken",
    wrong="the broker takes no connection or no messages",
    fix="start RabbitMQ, and check WARREN_AMQP_URL or WARREN_AMQP_HOST, the login and the virtual host",
)
NO_MANAGEMENT: Final = Rule(
    check="broker management",
    level="broken",
    wrong="the management API does not answer, or answers with an error",
    fix="enable the plugin rabbitmq_management and check WARREN_AMQP_MANAGEMENT_URL",
)
NO_SERVER: Final = Rule(
    check="server",
    level="broken",
    wrong="no server answers",
    fix="start it (warren server) and check WARREN_URL and WARREN_TOKEN",
)
OLD_BROKER: Final = Rule(
    check="broker version",
    level="broken",
    wrong="RabbitMQ is older than 3.10",
    fix="upgrade RabbitMQ to 3.10 or newer; 4.3 is the target",
)
OLD_TIMEOUT: Final = Rule(
    check="broker feature",
    level="note",
    wrong="RabbitMQ is older than 3.12: a consumer cannot choose its timeout",
    fix="upgrade to 3.12 or newer, or raise consumer_timeout in rabbitmq.conf above your longest task",
)
OLD_RETURNS: Final = Rule(
    check="broker feature",
    level="note",
    wrong="RabbitMQ is older than 4.3: a drained job looks like a failed delivery",
    fix="upgrade to 4.3 or newer",
)
POLICIES: Final = Rule(
    check="broker policies",
    level="broken",
    wrong="a policy of Warren's is missing or different",
    fix="start a server or a worker with WARREN_AMQP_TOPOLOGY=apply and a login that may set policies, or have the "
    "broker's operator apply them",
)
UNROUTABLE_JOBS: Final = Rule(
    check="unroutable messages",
    level="note",
    wrong="jobs came due for a queue that does not exist",
    fix="`warren topology repair` brings back those whose queue exists now and lists the others; with --create it "
    "makes the missing queues",
)
CARELESS: Final = Rule(
    check="dead-lettering",
    level="broken",
    wrong="a queue hands messages on without at-least-once: jobs can be lost",
    fix="remove the policy or queue argument that beats Warren's, then run `warren topology apply`",
)
BOUNDED: Final = Rule(
    check="dead-lettering",
    level="broken",
    wrong="a job queue has a length limit on the broker",
    fix="remove it and set the limit with `warren queues limits NAME --max-length N`",
)
LONG_TASKS: Final = Rule(
    check="long tasks",
    level="note",
    wrong="a task may run longer than an old broker waits for it",
    fix="set consumer_timeout in rabbitmq.conf above {milliseconds} (milliseconds), or upgrade to 3.12 or newer",
)
PAUSED: Final = Rule(
    check="queues",
    level="note",
    wrong="a queue is paused",
    fix="`warren queues resume NAME`, when they are to go on",
)
FEW_TOKENS: Final = Rule(
    check="queues",
    level="note",
    wrong="a limited queue lacks tokens",
    fix="wait: a server makes new ones when some are missing for half a minute; else see its log",
)
HIDDEN_QUEUES: Final = Rule(
    check="queues",
    level="unknown",
    wrong="the server does not tell its queues without a token",
    fix="set WARREN_TOKEN to a token with the scope read",
)
SERVER_SICK: Final = Rule(
    check="server",
    level="broken",
    wrong="the server answers but takes no jobs",
    fix="see the server's log; most often its broker or its store is away",
)
NO_MODULES: Final = Rule(
    check="tasks",
    level="note",
    wrong="no task modules are named",
    fix="set WARREN_TASKS to the modules that declare tasks, separated by commas",
)
NO_TASKS: Final = Rule(
    check="tasks",
    level="broken",
    wrong="the named modules declare no task",
    fix="decorate a function with @task there, or name the right module in WARREN_TASKS",
)


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
        return [OLD_BROKER.found(f"RabbitMQ {version} is older than 3.10: quorum queues have no time to live there")]
    limits = [ok("broker version", f"RabbitMQ {version}")]
    if number < (3, 12):
        limits.append(
            OLD_TIMEOUT.found(
                "before 3.12 a consumer cannot choose its timeout: jobs longer than the broker's "
                "consumer_timeout (30 min) are handed out twice"
            )
        )
    if number < (4, 3):
        limits.append(
            OLD_RETURNS.found(
                "before 4.3 every return of a job looks like a failed delivery, a drain's too: the job is not "
                "charged, but its attempt number rises, and after 25 returns it goes to the end of its queue; "
                "priorities are few"
            )
        )
    return limits


def of_policies(missing: Sequence[str]) -> Finding:
    """Judge the policies Warren needs on the broker."""
    if not missing:
        return ok("broker policies", "all policies are as they must be")
    return POLICIES.found(f"missing or different: {', '.join(missing)}")


def of_unroutable(depth: int) -> Finding:
    """Judge how many messages found no queue."""
    if depth == 0:
        return ok("unroutable messages", "none")
    return UNROUTABLE_JOBS.found(
        f"{depth} messages came due for a queue that does not exist; they wait in warren.unroutable"
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
        return [ok("dead-lettering", f"at least once on {len(handing_on)} queues")]
    found = []
    if careless:
        found.append(
            CARELESS.found(f"{some(careless)}: not at-least-once with reject-publish to an exchange; jobs can be lost")
        )
    if bounded:
        found.append(
            BOUNDED.found(
                f"{some(bounded)}: a length limit on the broker; when full, it holds up delayed jobs of all queues"
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
        LONG_TASKS.found(
            f"{some(long)}: may run for {DEFAULT_CONSUMER_TIMEOUT_SECONDS} s or longer, after which RabbitMQ "
            f"{version} hands a job out again unless its consumer_timeout is longer",
            milliseconds=int(max(timeouts.values()) * 1000),
        )
    ]


def of_queues(queues: Sequence[QueueView]) -> list[Finding]:
    """Judge how the server says queues are worked on."""
    found = []
    paused = [queue.name for queue in queues if queue.paused]
    if paused:
        found.append(PAUSED.found(f"{some(paused)}: paused, their jobs wait"))
    for queue in queues:
        for kind, tokens in (queue.tokens or {}).items():
            if tokens.present < tokens.wanted:
                found.append(
                    FEW_TOKENS.found(
                        f"{queue.name} has {tokens.present} of {tokens.wanted} tokens ({kind}): fewer of its "
                        "jobs may run than its limits say"
                    )
                )
    return found or [ok("queues", f"{len(queues)} queues, none paused")]


def of_hidden_queues(error: Exception) -> Finding:
    """Say that the server's queues could not be looked at."""
    return HIDDEN_QUEUES.found(f"not looked at: {error}")


def _keeps(held: Mapping[str, Any]) -> bool:
    return (
        bool(held.get("dead-letter-exchange"))
        and held.get("dead-letter-strategy") == "at-least-once"
        and held.get("overflow") == "reject-publish"
    )


def of_health(url: str, health: Health) -> Finding:
    """Judge what the server says of itself."""
    if health.ready:
        return ok("server", f"{url} takes jobs")
    return SERVER_SICK.found(f"{url} answers but takes no jobs: {dict(health.checks)}")


def of_tasks(names: Sequence[str], modules: str) -> Finding:
    """Judge the tasks that could be imported."""
    if not modules.strip():
        return NO_MODULES.found("WARREN_TASKS is not set, so no tasks were looked at")
    if not names:
        return NO_TASKS.found(f"{modules} declares no task")
    return ok("tasks", f"{len(names)} tasks: {', '.join(names)}")
