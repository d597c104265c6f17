"""Logins of the broker that are missing or wrong: pods are not ready, and their logs name the secret and the key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.installation import Installation
from e2e.namespaces import Namespace
from waiting import eventually

RELEASE = "unfit"
SECRETS = "/etc/warren/secrets"


@dataclass(frozen=True, slots=True)
class Unfit:
    """A second release, whose server has a wrong login and whose workers have none."""

    namespace: Namespace

    def log(self, component: str) -> str:
        selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        return self.namespace.kubectl("logs", "--selector", selector, "--tail=200")

    def running(self) -> set[str]:
        """Name the components whose containers run."""
        return {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]
            for pod in self.namespace.items("pods", "--selector", f"app.kubernetes.io/instance={RELEASE}")
            if any("running" in one["state"] for one in pod["status"].get("containerStatuses", []))
        }

    def ready(self) -> dict[str, list[bool]]:
        """Tell for each component whether its containers are ready."""
        pods = self.namespace.items("pods", "--selector", f"app.kubernetes.io/instance={RELEASE}")
        return {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]: [
                one["ready"] for one in pod["status"].get("containerStatuses", [])
            ]
            for pod in pods
        }


@pytest.fixture(scope="module")
def unfit(installation: Installation) -> Iterator[Unfit]:
    namespace = installation.namespace
    wrong = ("--from-literal=username=warren-server", "--from-literal=password=guessed")
    namespace.kubectl("create", "secret", "generic", "wrong-login", *wrong)
    logins = {"server": {"name": "wrong-login"}, "worker": {"name": "absent-login", "passwordKey": "secret-word"}}
    monitoring = {"serviceMonitor": {"enabled": False}, "podMonitor": {"enabled": False}}
    installation.install(RELEASE, values={"rabbitmq": {"secrets": logins}, "monitoring": monitoring})
    made = Unfit(namespace)
    # There is no log before.
    eventually(lambda: made.running() == {"server", "worker"}, 60, 0.5)
    yield made
    installation.uninstall(RELEASE)
    eventually(lambda: not installation.pods(f"app.kubernetes.io/instance={RELEASE}"), 90, 0.5)
    namespace.kubectl("delete", "persistentvolumeclaim", f"{RELEASE}-warren-server-data")
    namespace.kubectl("delete", "secret", "wrong-login")


def test_a_wrong_login_keeps_the_server_unready_and_is_named(unfit: Unfit) -> None:
    said = f"of file {SECRETS}/wrong-login/password"

    log = eventually(lambda: found if said in (found := unfit.log("server")) else "", 60, 1)

    assert "refused the login" in log
    assert "guessed" not in log
    assert unfit.ready()["server"] == [False]


def test_a_missing_login_keeps_the_worker_unready_and_is_named(unfit: Unfit) -> None:
    said = f"credential file {SECRETS}/absent-login/username cannot be read"

    eventually(lambda: said in unfit.log("worker"), 60, 1)

    assert unfit.ready()["worker"] == [False]
