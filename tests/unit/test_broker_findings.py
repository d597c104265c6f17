"""What the doctor makes of what the management API tells, and what it says when it may not ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from warren.amqp import management
from warren.cli import broker_findings
from warren.cli.broker import Expected, look
from warren.errors import NotPermitted, TopologyError
from warren.settings import BrokerSettings
from warren.topology import policies, topology

Answers = dict[str, Any]
VHOST = "%2F"


def types() -> dict[str, str]:
    return {queue.name: queue.type for queue in topology(["default"]).queues}


def answers(**changes: Any) -> Answers:
    """Return what a healthy broker of version 4.3 answers, by path."""
    held = {"dead-letter-exchange": "x", "dead-letter-strategy": "at-least-once", "overflow": "reject-publish"}
    queues = [
        {"name": name, "type": kind, "arguments": {}, "effective_policy_definition": held, "messages_ready": 0}
        for name, kind in types().items()
    ]
    wanted = [
        {
            "name": policy.name,
            "pattern": policy.pattern,
            "apply-to": policy.apply_to,
            "definition": policy.definition_for((4, 3)),
            "priority": policy.priority,
        }
        for policy in policies()
    ]
    return {
        "/api/whoami": {"name": "warren-server", "tags": ["monitoring"]},
        "/api/overview": {"rabbitmq_version": "4.3.6", "disable_stats": False},
        f"/api/policies/{VHOST}": wanted,
        f"/api/queues/{VHOST}": queues,
        "/api/health/checks/alarms": {"status": "ok"},
        "/api/nodes": [{"name": "rabbit@a", "running": True}],
        "/api/feature-flags": [{"name": "quorum_queue", "state": "enabled", "stability": "required"}],
        "/api/users": [{"name": "warren-worker", "tags": []}],
        f"/api/vhosts/{VHOST}/permissions": [{"user": "warren-worker", "configure": "", "write": "w", "read": "r"}],
        **changes,
    }


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], BrokerSettings]:
    """Serve answers by path as the management API."""

    def serve(given: Answers) -> BrokerSettings:
        def answer(request: httpx.Request) -> httpx.Response:
            found = given[request.url.raw_path.decode().partition("?")[0]]
            return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

        client = httpx.Client

        def connected(**options: Any) -> httpx.Client:
            return client(**{**options, "transport": httpx.MockTransport(answer)})

        monkeypatch.setattr(management.httpx, "Client", connected)
        return BrokerSettings()

    return serve


def hidden(who: str) -> httpx.Response:
    return httpx.Response(401, json={"error": "not_authorised", "reason": f"Not {who} user"})


def test_a_healthy_broker_has_no_complaint(broker: Callable[[Answers], BrokerSettings]) -> None:
    expected = Expected(worked_on=["default"], logins=["warren-worker"], own_login="warren-server")

    found = list(look(broker(answers()), expected))

    assert {one.level for one in found} == {"ok"}
    assert [one.check for one in found] == [
        "broker login", "broker version", "broker statistics", "broker policies", "dead-lettering", "queue types",
        "unroutable messages", "broker alarms", "broker nodes", "feature flags", "broker permissions",
    ]  # fmt: skip


def test_a_larger_queue_that_is_not_there_is_named_with_its_task(broker: Callable[[Answers], BrokerSettings]) -> None:
    expected = Expected(worked_on=["default"], oom_queues={"report": "large", "resize": "default"})

    [found] = [one for one in look(broker(answers()), expected) if one.level != "ok"]

    assert (found.check, found.level, found.message) == ("queue types", "broken", "not there: large (task report)")
    assert "warren topology apply" in found.fix


def test_a_login_without_a_tag_learns_what_was_not_looked_at(broker: Callable[[Answers], BrokerSettings]) -> None:
    (found,) = look(broker(answers(**{"/api/whoami": hidden("management")})), Expected())

    assert (found.check, found.level) == ("broker management", "unknown")
    assert "Not management user" in found.message
    assert "monitoring" in found.fix


def test_what_a_lesser_tag_may_not_see_is_said_and_the_rest_is_looked_at(
    broker: Callable[[Answers], BrokerSettings],
) -> None:
    lesser = answers(**{"/api/nodes": hidden("monitor"), "/api/feature-flags": hidden("administrator")})

    found = list(look(broker(lesser), Expected()))

    unseen = [one.message.partition(":")[0] for one in found if one.level == "unknown"]
    assert unseen == ["nodes", "feature flags"]
    assert "broker policies" in {one.check for one in found}


def test_a_wrong_password_is_no_missing_tag(broker: Callable[[Answers], BrokerSettings]) -> None:
    for reason in ("Login failed", "Not_Authorized"):
        refused = httpx.Response(401, json={"error": "not_authorized", "reason": reason})

        with pytest.raises(TopologyError) as raised:
            list(look(broker(answers(**{"/api/whoami": refused})), Expected()))
        assert not isinstance(raised.value, NotPermitted)


def test_alarms_and_stopped_nodes_are_named(broker: Callable[[Answers], BrokerSettings]) -> None:
    sick = answers(
        **{
            "/api/health/checks/alarms": httpx.Response(
                503, json={"status": "failed", "alarms": [{"node": "rabbit@a", "resource": "disk"}]}
            ),
            "/api/nodes": [{"name": "rabbit@a", "running": True}, {"name": "rabbit@b", "running": False}],
        }
    )

    broken = {one.check: one.message for one in look(broker(sick), Expected()) if one.level == "broken"}

    assert broken == {"broker alarms": "disk on rabbit@a", "broker nodes": "rabbit@b"}


def test_a_broker_that_does_not_count_blinds_the_scalers(broker: Callable[[Answers], BrokerSettings]) -> None:
    blind = answers(**{"/api/overview": {"rabbitmq_version": "4.3.6", "disable_stats": True}})

    (found,) = [one for one in look(broker(blind), Expected()) if one.check == "broker statistics"]

    assert found.level == "broken"
    assert "disable_metrics_collector" in found.fix


@pytest.mark.parametrize(
    ("flags", "levels"),
    [
        ([("quorum_queue", "enabled", "stable")], ["ok"]),
        ([("khepri_db", "disabled", "stable"), ("x", "enabled", "required")], ["note"]),
        ([("next_thing", "disabled", "experimental"), ("gone", "unavailable", "stable")], ["ok"]),
        ([("stream_queue", "disabled", "stable"), ("other", "disabled", "stable")], ["broken", "note"]),
    ],
)
def test_feature_flags_that_are_off_matter_by_what_they_are(
    flags: list[tuple[str, str, str]], levels: list[str]
) -> None:
    told = [{"name": name, "state": state, "stability": stability} for name, state, stability in flags]

    assert [one.level for one in broker_findings.of_flags(told)] == levels


def test_queues_of_a_wrong_type_and_missing_ones_are_named() -> None:
    held = {**types(), "warren.control": "quorum", "warren.q.old": "classic", "warren.tokens.a.slots": "classic"}
    del held["warren.delay.03"]

    wrong, missing = broker_findings.of_types({**held, "somebody.elses": "classic"}, ["default", "new"])

    assert wrong.message == (
        "warren.control is quorum, not stream, warren.q.old is classic, not quorum, "
        "warren.tokens.a.slots is classic, not quorum"
    )
    assert missing.message == "not there: warren.delay.03, warren.q.new"


def test_the_right_queues_are_well() -> None:
    (found,) = broker_findings.of_types(types(), ["default"])

    assert found.level == "ok"


def test_everybodys_login_and_an_administrator_are_told_of() -> None:
    everybody = broker_findings.of_login("guest", "guest", ["administrator"])
    well = broker_findings.of_login("warren-server", "warren-monitor", ["monitoring"])

    assert [finding.level for finding in everybody] == ["note", "note"]
    assert [finding.level for finding in well] == ["ok"]


def test_rights_that_are_too_wide_are_named_with_their_pattern() -> None:
    tags = {"a": ["administrator"], "b": [], "c": [], "admin": ["administrator"]}
    rights = {
        "a": {"configure": "^$", "write": "w", "read": "r"},
        "b": {"configure": "^warren", "write": ".*", "read": "^.*$"},
        "c": {"configure": "", "write": "w", "read": "r"},
    }

    found = broker_findings.of_rights(["a", "b", "c", "unknown"], tags, rights)
    well = broker_findings.of_rights(["c"], tags, rights)
    nobody = broker_findings.of_rights(["unknown"], tags, rights)

    assert [one.message for one in found] == [
        "a has the tag administrator",
        "may configure: b (^warren)",
        "may do so on every name: b (write), b (read)",
    ]
    assert [one.level for one in well] == ["ok"]
    assert nobody == []


def test_a_queue_that_was_just_declared_has_its_declared_type(broker: Callable[[Answers], BrokerSettings]) -> None:
    given = answers(**{f"/api/queues/{VHOST}": [{"name": "a", "arguments": {"x-queue-type": "quorum"}}, {"name": "b"}]})

    with management.Management(broker(given)) as api:
        found = api.queue_types()

    assert found == {"a": "quorum", "b": "classic"}
