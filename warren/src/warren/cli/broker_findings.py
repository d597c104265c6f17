"""What `warren doctor` makes of what the management API tells: flags, alarms, queue types, rights. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from warren.cli.finding import Finding, Rule, ok, some
from warren.topology import TOKENS, queue_name, topology

NEEDED_FLAGS: Final = ("quorum_queue", "stream_queue")
"""Without them there is no job queue, no control stream and no at-least-once dead-lettering
(https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering)."""

HIDDEN: Final = Rule(
    check="broker management",
    level="unknown",
    wrong="the login may not see a part of the management API",
    fix="give the login the tag monitoring (for users' rights: administrator), or name another one in "
    "WARREN_AMQP_MANAGEMENT_URL; for Warren itself nothing is missing",
)
NEEDED_FLAG_OFF: Final = Rule(
    check="feature flags",
    level="broken",
    wrong="a feature flag that Warren needs is not enabled",
    fix="rabbitmqctl enable_feature_flag all",
)
FLAGS_OFF: Final = Rule(
    check="feature flags",
    level="note",
    wrong="a stable feature flag is not enabled: the next upgrade of RabbitMQ may refuse to start",
    fix="rabbitmqctl enable_feature_flag all, once every node runs the new version",
)
ALARM: Final = Rule(
    check="broker alarms",
    level="broken",
    wrong="a memory or disk alarm is in effect: the broker takes no messages",
    fix="memory: raise the broker's memory limit or vm_memory_high_watermark; disk: enlarge its volume; or let workers "
    "empty the queues",
)
STOPPED_NODE: Final = Rule(
    check="broker nodes",
    level="broken",
    wrong="a node of the broker's cluster does not run",
    fix="see the node's log; start it, or take it out with rabbitmqctl forget_cluster_node when it is gone for good",
)
NO_STATISTICS: Final = Rule(
    check="broker statistics",
    level="broken",
    wrong="the broker does not count: scalers that ask the management API, KEDA's rabbitmq trigger among them, see 0",
    fix="remove management_agent.disable_metrics_collector and management.disable_stats from rabbitmq.conf",
)
WRONG_TYPE: Final = Rule(
    check="queue types",
    level="broken",
    wrong="a queue of Warren's has the wrong type",
    fix="let workers empty it, delete it, and run `warren topology apply` (or let the topology operator make it anew)",
)
MISSING_QUEUE: Final = Rule(
    check="queue types",
    level="broken",
    wrong="a queue that Warren needs is not there",
    fix="run `warren topology apply`, or add it to what the topology operator makes",
)
MISSING_OOM_QUEUE: Final = Rule(
    check="queue types",
    level="broken",
    wrong="the oom_queue of a task is not there: jobs that run out of memory would wait in warren.unroutable",
    fix="run `warren topology apply`, or add it to what the topology operator makes, with workers for it",
)
GUEST: Final = Rule(
    check="broker login",
    level="note",
    wrong="guest logs in from another machine",
    fix="make a login of Warren's own, name it in WARREN_AMQP_USERNAME_FILE, and delete guest",
)
ADMINISTRATOR: Final = Rule(
    check="broker login",
    level="note",
    wrong="Warren logs in as an administrator of the broker",
    fix="rabbitmqctl set_user_tags NAME monitoring; policies are then the topology operator's or `warren topology "
    "apply`'s, with a login of its own",
)
CONFIGURES: Final = Rule(
    check="broker permissions",
    level="note",
    wrong="a server's or worker's login may configure",
    fix="have the topology operator or `warren topology apply` make the topology, set WARREN_AMQP_TOPOLOGY=check, and "
    "take away the configure right",
)
EVERYTHING: Final = Rule(
    check="broker permissions",
    level="note",
    wrong="a server's or worker's login may write to or read everything in the virtual host",
    fix="narrow its write and read patterns to the names in docs/reference/topology.md",
)

_NOTHING: Final = ("", "^$")
_ALL: Final = frozenset({".*", "^.*$", ".*$", "^.*"})
_JOB_QUEUES: Final = queue_name("x").removesuffix("x")


def of_flags(flags: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Judge the feature flags: those Warren needs, and those the next upgrade needs."""
    states = {str(flag["name"]): flag for flag in flags}
    off = [name for name, flag in states.items() if flag.get("state") == "disabled"]
    needed = [name for name in NEEDED_FLAGS if name in off]
    stable = [name for name in off if name not in needed and states[name].get("stability") != "experimental"]
    found = []
    if needed:
        found.append(NEEDED_FLAG_OFF.found(f"not enabled: {some(needed)}"))
    if stable:
        found.append(FLAGS_OFF.found(f"not enabled: {some(stable)}"))
    return found or [ok("feature flags", f"all {len(states)} stable or needed flags are enabled")]


def of_alarms(alarms: Sequence[tuple[str, str]]) -> list[Finding]:
    """Judge the alarms in effect, given as node and resource."""
    if not alarms:
        return [ok("broker alarms", "none")]
    return [ALARM.found(some(f"{resource} on {node}" for node, resource in alarms))]


def of_stopped_nodes(nodes: Sequence[str]) -> list[Finding]:
    """Judge which nodes of the cluster do not run."""
    return [STOPPED_NODE.found(some(nodes))] if nodes else [ok("broker nodes", "all run")]


def of_statistics(overview: Mapping[str, Any]) -> list[Finding]:
    """Judge whether the broker counts messages; KEDA reads a missing number as 0 (kedacore/keda#7180)."""
    if overview.get("disable_stats"):
        return [NO_STATISTICS.found("management statistics are switched off: depths read as 0")]
    return [ok("broker statistics", "messages are counted")]


def of_types(types: Mapping[str, str], worked_on: Iterable[str] = ()) -> list[Finding]:
    """Judge the types of Warren's queues.

    Args:
        types: Type by the broker's name of every queue there is.
        worked_on: Names of job queues that workers wait for.
    """
    wanted = {queue.name: str(queue.type) for queue in topology(worked_on).queues}
    wanted |= {name: "quorum" for name in types if name.startswith((_JOB_QUEUES, f"{TOKENS}."))}
    wrong = [f"{name} is {types[name]}, not {kind}" for name, kind in wanted.items() if types.get(name, kind) != kind]
    missing = [name for name in wanted if name not in types]
    found = []
    if wrong:
        found.append(WRONG_TYPE.found(some(wrong)))
    if missing:
        found.append(MISSING_QUEUE.found(f"not there: {some(missing)}"))
    return found or [ok("queue types", f"{len(wanted)} queues are there and of the right type")]


def of_oom_queues(types: Mapping[str, str], oom_queues: Mapping[str, str]) -> list[Finding]:
    """Judge whether the queues are there that jobs go to when they run out of memory.

    Args:
        types: Type by the broker's name of every queue there is.
        oom_queues: Name of such a queue by task.
    """
    missing = [f"{queue} (task {task})" for task, queue in oom_queues.items() if queue_name(queue) not in types]
    return [MISSING_OOM_QUEUE.found(f"not there: {some(missing)}")] if missing else []


def of_login(name: str, watching: str, tags: Sequence[str]) -> list[Finding]:
    """Judge the logins that this process uses on a broker that is not on this machine.

    Args:
        name: The login for AMQP.
        watching: The login for the management API, often the same.
        tags: The tags of the latter.
    """
    found = [GUEST.found("logs in as guest, whose password everybody knows")] if name == "guest" else []
    if "administrator" in tags:
        found.append(ADMINISTRATOR.found(f"{watching} has the tag administrator"))
    return found or [ok("broker login", f"{name}; {watching} asks the management API and is no administrator")]


def of_rights(
    logins: Iterable[str], tags: Mapping[str, Sequence[str]], permissions: Mapping[str, Mapping[str, str]]
) -> list[Finding]:
    """Judge what servers' and workers' logins may do.

    Args:
        logins: The logins to judge.
        tags: Tags by login.
        permissions: Patterns of `configure`, `write` and `read` in Warren's virtual host by login.
    """
    judged = sorted(set(logins) & (tags.keys() | permissions.keys()))
    rights = {name: permissions[name] for name in judged if name in permissions}
    found = [
        ADMINISTRATOR.found(f"{name} has the tag administrator")
        for name in judged
        if "administrator" in tags.get(name, ())
    ]
    configuring = [
        f"{name} ({held['configure']})" for name, held in rights.items() if held["configure"] not in _NOTHING
    ]
    everything = [
        f"{name} ({right})" for name, held in rights.items() for right in ("write", "read") if held[right] in _ALL
    ]
    if configuring:
        found.append(CONFIGURES.found(f"may configure: {some(configuring)}"))
    if everything:
        found.append(EVERYTHING.found(f"may do so on every name: {some(everything)}"))
    if found or not judged:
        return found
    return [ok("broker permissions", f"{some(judged)}: no configure right, no tag administrator")]
