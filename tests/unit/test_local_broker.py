"""The order in which a broker is looked for, and RabbitMQ from packages."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from warren.errors import LocalStackError
from warren.local import broker, compose, node, packages


@dataclass
class Machine:
    """What the machine has, and what was done on it."""

    server: bool = False
    engine: bool = False
    root: bool = False
    done: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    made = Machine()

    def start(name: str) -> Any:
        def record(_folder: Path, _keep: bool = True) -> broker.LocalBroker:
            made.done.append(name)
            return broker.LocalBroker(
                taken=name, environment={}, wait_ready=lambda: None, stop=lambda: None, trouble=lambda: None
            )

        return record

    monkeypatch.chdir(tmp_path)
    (tmp_path / "docker-compose.yaml").touch()
    monkeypatch.setattr(broker, "find_server", lambda: Path("/rabbit") if made.server else None)
    monkeypatch.setattr(compose, "engine_answers", lambda: made.engine)
    monkeypatch.setattr(packages, "can_install", lambda: made.root)
    monkeypatch.setattr(packages, "install_rabbitmq", lambda: made.done.append("install"))
    monkeypatch.setattr(broker, "_private", start("private"))
    monkeypatch.setattr(broker, "_composed", start("compose"))
    return made


def take(machine: Machine) -> str:
    return broker.take_broker(Path("data"), machine.said.append).taken


def test_a_given_url_comes_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_AMQP_URL", "amqp://user:secret@rabbit.example:5673/")
    machine.server = machine.engine = machine.root = True

    assert take(machine) == "WARREN_AMQP_URL, at rabbit.example:5673"
    assert machine.said == ["broker: WARREN_AMQP_URL, at rabbit.example:5673"]


def test_then_a_server_on_the_machine(machine: Machine) -> None:
    machine.server = machine.engine = machine.root = True

    assert take(machine) == "private"


def test_then_an_engine_that_answers(machine: Machine) -> None:
    machine.engine = machine.root = True

    assert take(machine) == "compose"


def test_an_engine_without_a_compose_file_is_passed_over(machine: Machine) -> None:
    machine.engine = machine.root = True
    Path("docker-compose.yaml").unlink()

    assert take(machine) == "private"
    assert machine.done == ["install", "private"]


def test_then_root_installs_the_package(machine: Machine) -> None:
    machine.root = True

    assert take(machine) == "private"
    assert machine.done == ["install", "private"]
    assert machine.said[0].startswith("no RabbitMQ here: installing rabbitmq-server")


def test_with_nothing_there_the_message_says_what_to_install(machine: Machine) -> None:
    with pytest.raises(LocalStackError, match="apt-get install rabbitmq-server") as raised:
        take(machine)

    assert "Docker" in str(raised.value)
    assert "WARREN_AMQP_URL" in str(raised.value)


def test_services_are_held_while_packages_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"

    with packages.services_held(policy):
        status = subprocess.run([policy, "rabbitmq-server", "start"]).returncode

    assert status == 101
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_was_there_is_put_back_even_after_a_failure(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")

    with pytest.raises(RuntimeError), packages.services_held(policy):
        raise RuntimeError

    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert [path.name for path in tmp_path.iterdir()] == ["policy-rc.d"]


def test_a_failed_installation_shows_the_end_of_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho no network for $1\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with pytest.raises(LocalStackError, match="failed with status 100") as raised:
        packages._run(["apt-get", "install", "rabbitmq-server"])

    assert "no network for install" in str(raised.value)


def test_an_ordinary_user_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "find_server", lambda: None)
    monkeypatch.setattr(packages, "can_install", lambda: False)

    assert packages.main() == 1
    assert "install one of: rabbitmq-server" in capsys.readouterr().err


def test_a_server_that_is_there_is_not_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_server", lambda: Path("/rabbit"))
    monkeypatch.setattr(packages, "install_rabbitmq", lambda: pytest.fail("installed"))

    assert packages.main() == 0


@pytest.mark.parametrize(("error", "status"), [(None, 0), (LocalStackError("no luck"), 1)])
def test_root_installs_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception | None, status: int
) -> None:
    def install() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(packages, "find_server", lambda: None)
    monkeypatch.setattr(packages, "can_install", lambda: True)
    monkeypatch.setattr(packages, "install_rabbitmq", install)

    assert packages.main() == status
    assert ("no luck" in capsys.readouterr().err) == (status == 1)


def test_a_machine_without_rabbitmq_refuses_a_private_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node, "find_server", lambda: None)

    with pytest.raises(LocalStackError, match="no rabbitmq-server on this machine"):
        node.PrivateNode(tmp_path / "node").start()


def test_a_node_that_is_not_started_has_no_address(tmp_path: Path) -> None:
    private = node.PrivateNode(tmp_path / "node")
    private.stop()

    with pytest.raises(LocalStackError, match="is not started"):
        _ = private.url


DOCKER = """#!/bin/sh
echo "$WARREN_RABBITMQ_PORT $WARREN_RABBITMQ_MANAGEMENT_PORT $*" >> {log}
[ "$BROKEN" != "$1" ] || {{ echo the engine is out of fuel >&2; exit 1; }}
"""


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for docker that writes down how it was called."""
    log = tmp_path / "docker.log"
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return log


def test_compose_runs_the_service_on_free_ports_and_removes_it(docker: Path, tmp_path: Path) -> None:
    service = compose.ComposeBroker(tmp_path / "docker-compose.yaml", tmp_path / "data")

    service.start()
    url = service.url
    service.stop()
    service.stop()

    started, stopped = docker.read_text().splitlines()
    amqp, management, *arguments = started.split()
    assert int(management) == int(amqp) + 10000
    assert arguments[-4:] == ["up", "--detach", "--wait", "rabbitmq"]
    assert stopped.endswith("down")
    assert url.endswith(f"@127.0.0.1:{amqp}/%2F")
    assert ((tmp_path / "data" / "compose-password").stat().st_mode & 0o777) == 0o600


def test_compose_keeps_its_password(docker: Path, tmp_path: Path) -> None:
    first, second = (compose.ComposeBroker(tmp_path / "c.yaml", tmp_path / "data") for _ in range(2))

    first.start()
    second.start()

    assert first.url.partition("@")[0] == second.url.partition("@")[0]


def test_a_failing_compose_shows_what_it_said(docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "compose")

    with pytest.raises(LocalStackError, match="the engine is out of fuel"):
        compose.ComposeBroker(tmp_path / "c.yaml", tmp_path / "data").start()


def test_an_engine_answers_when_both_it_and_compose_do(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_both = compose.engine_answers()
    monkeypatch.setenv("BROKEN", "compose")
    without_compose = compose.engine_answers()
    monkeypatch.setenv("PATH", "/nowhere")

    assert (with_both, without_compose, compose.engine_answers()) == (True, False, False)
