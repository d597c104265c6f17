"""`warren doctor` on a real broker, with logins of several rights."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from click.testing import CliRunner

from waiting import eventually
from warren.amqp import connect
from warren.amqp.management import Management
from warren.amqp.topology import prepare
from warren.cli import main
from warren.cli.broker import Expected, look
from warren.settings import BrokerSettings, with_credentials


@dataclass(frozen=True)
class Login:
    """A login of the test's own, with the rights a server has and no tag yet."""

    name: str
    settings: BrokerSettings
    admin: httpx.Client
    vhost: str

    def tag(self, tags: str) -> None:
        self.admin.put(f"/api/users/{self.name}", json={"password": "secret", "tags": tags}).raise_for_status()

    def allow(self, configure: str) -> None:
        rights = {"configure": configure, "write": r"^warren\.", "read": r"^warren\."}
        self.admin.put(f"/api/permissions/{self.vhost}/{self.name}", json=rights).raise_for_status()


@pytest.fixture
def login(amqp: BrokerSettings) -> Iterator[Login]:
    """Make the topology, and a login for it."""
    transport = connect(amqp)
    transport.start()
    assert transport.wait_ready(10)
    prepare(transport, amqp, ["default"])
    transport.stop()
    assert amqp.url is not None
    assert amqp.management_url is not None
    with Management(amqp) as management:
        eventually(lambda: len(management.behaviour()) > 20)
    name = f"server-{uuid.uuid4().hex[:8]}"
    url = amqp.url.get_secret_value()
    settings = amqp.model_copy(update={"url": type(amqp.url)(with_credentials(url, name, "secret"))})
    parts = urlsplit(amqp.management_url.get_secret_value())
    base = f"http://{parts.netloc.rpartition('@')[2]}"
    admin = (parts.username or "guest", parts.password or "guest")
    with httpx.Client(base_url=base, auth=admin, trust_env=False, timeout=30) as client:
        made = Login(name=name, settings=settings, admin=client, vhost=quote(urlsplit(url).path[1:], safe=""))
        made.tag("")
        made.allow("^$")
        yield made
        client.delete(f"/api/users/{name}").raise_for_status()


def doctor(login: Login, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[dict[str, Any]]]:
    assert login.settings.url is not None
    monkeypatch.setenv("WARREN_AMQP_URL", login.settings.url.get_secret_value())
    monkeypatch.setenv("WARREN_AMQP_MANAGEMENT_URL", str(login.admin.base_url))
    monkeypatch.setenv("WARREN_AMQP_TOPOLOGY", "check")
    result = CliRunner().invoke(main, ["doctor", "--no-server", "--json"])
    return result.exit_code, json.loads(result.stdout)


def unseen(found: list[dict[str, Any]]) -> list[str]:
    return [one["message"].partition(":")[0] for one in found if one["level"] == "unknown"]


def test_the_least_login_passes_and_learns_what_it_may_not_see(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    code, found = doctor(login, monkeypatch)

    assert code == 0
    assert unseen(found) == ["version, policies, queues and alarms were not looked at"]
    assert "connects, logs in and takes messages" in [one["message"] for one in found]


def test_a_watching_login_sees_all_but_what_administrators_see(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    login.tag("monitoring")

    code, found = doctor(login, monkeypatch)

    well = {one["check"] for one in found if one["level"] == "ok"}
    assert code == 0, found
    # Before 4.0 only administrators see feature flags.
    assert unseen(found) in ([], ["feature flags"])
    assert {"broker statistics", "queue types", "broker alarms", "broker nodes", "dead-lettering"} <= well


def test_a_wrong_password_for_the_management_api_is_broken(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = with_credentials(str(login.admin.base_url), login.name, "wrong")
    monkeypatch.setattr(login.admin, "_base_url", httpx.URL(wrong))

    code, found = doctor(login, monkeypatch)

    assert code == 1
    assert [one["check"] for one in found if one["level"] == "broken"] == ["broker management"]


def test_an_administrator_sees_rights_and_flags(amqp: BrokerSettings, login: Login) -> None:
    expected = Expected(worked_on=["default"], logins=[login.name], own_login=login.name)

    narrow = list(look(amqp, expected))
    login.allow("^warren")
    login.tag("administrator")
    wide = list(look(amqp, expected))

    assert not [one for one in narrow if one.level == "unknown"]
    assert [one.level for one in narrow if one.check == "broker permissions"] == ["ok"]
    assert {one.level for one in narrow if one.check == "feature flags"} == {"ok"}
    assert [one.message for one in wide if one.check == "broker permissions"] == [
        f"may configure: {login.name} (^warren)"
    ]
    assert f"{login.name} has the tag administrator" in [one.message for one in wide]


def test_a_queue_of_the_wrong_type_is_found(amqp: BrokerSettings, login: Login) -> None:
    path = f"/api/queues/{login.vhost}/warren.q.classic"
    login.admin.put(path, json={"durable": True, "arguments": {"x-queue-type": "classic"}}).raise_for_status()

    found = list(look(amqp, Expected(worked_on=["default", "absent"])))

    assert [one.message for one in found if one.check == "queue types"] == [
        "warren.q.classic is classic, not quorum",
        "not there: warren.q.absent",
    ]
