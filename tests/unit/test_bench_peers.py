"""What the peers of the benchmarks need is made once, and what cannot be had is said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import peers
from bench.contenders.perf_test import PerfTest
from bench.errors import BenchError
from bench.stage import Stage


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run; none really is."""
    seen: list[list[str]] = []

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        (tmp_path / "peers").mkdir(exist_ok=True)
        (tmp_path / "perf-test").mkdir(exist_ok=True)
        status = 1 if "fails" in command[0] else 0
        return subprocess.CompletedProcess(command, status, stdout="", stderr="no such artifact\n")

    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    monkeypatch.setattr(peers.subprocess, "run", run)
    return seen


def test_the_peers_environment_is_made_once(commands: list[list[str]]) -> None:
    python = peers.peers_python()
    again = peers.peers_python()

    assert python == again
    assert [command[1] for command in commands] == ["venv", "pip"]


def test_other_requirements_make_it_anew(
    commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers.peers_python()
    other = tmp_path / "requirements.txt"
    other.write_text("celery==6\n")
    monkeypatch.setattr(peers, "REQUIREMENTS", other)

    peers.peers_python()

    assert len(commands) == 4


def test_perf_test_is_brought_once(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")

    assert peers.perf_test_jars() == peers.perf_test_jars()
    assert len(commands) == 1


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({}, "there is no `java` on this machine"),
        ({"java": "/java"}, "there is Java, but no `mvn`"),
        ({"java": "/java", "mvn": "/fails"}, "no such artifact"),
    ],
)
@pytest.mark.usefixtures("commands")
def test_what_perf_test_lacks_is_said(there: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", there.get)

    with pytest.raises(BenchError, match=said):
        peers.perf_test_jars()
    assert said in PerfTest().absence(Stage.__new__(Stage))
