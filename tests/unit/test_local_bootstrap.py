"""Making the environment from a bare Python."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool, working on an environment in a temporary folder."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / "venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / "venv" / "stamp")
    return module


def test_it_imports_nothing_but_the_standard_library() -> None:
    code = f"import runpy; runpy.run_path({str(ROOT / 'tools' / 'bootstrap.py')!r})"

    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)

    assert done.stderr == ""


def test_an_old_python_is_refused_with_what_to_do(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"Python 3.10 is too old.*make PYTHON="):
        bootstrap.check_version((3, 10))


def test_the_lock_pins_the_installer_with_hashes(bootstrap: ModuleType) -> None:
    lines = bootstrap.requirement("uv", bootstrap.LOCK.read_text()).splitlines()

    assert lines[0].startswith("uv==")
    assert len(lines) > 1
    assert all("--hash=sha256:" in line for line in lines[1:])


def test_a_lock_without_the_package_is_said(bootstrap: ModuleType) -> None:
    with pytest.raises(bootstrap.BootstrapError, match="does not pin uv: run make lock"):
        bootstrap.requirement("uv", "uvicorn==1 \\\n    --hash=sha256:00\n")


def test_the_members_have_the_same_place_in_the_lock_and_the_tree(bootstrap: ModuleType) -> None:
    assert all((ROOT / member / "pyproject.toml").exists() for member in bootstrap.MEMBERS)


def test_an_environment_that_fits_costs_nothing(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def make() -> None:
        calls.append("make")
        bootstrap.python().parent.mkdir(parents=True, exist_ok=True)
        bootstrap.python().touch()

    monkeypatch.setattr(bootstrap, "make_environment", make)
    monkeypatch.setattr(bootstrap, "install", lambda: calls.append("install"))

    statuses = [bootstrap.main(), bootstrap.main()]

    assert statuses == [0, 0]
    assert calls == ["make", "install"]


def test_a_changed_interpreter_makes_the_environment_anew(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bootstrap.stamp()

    monkeypatch.setattr(sys, "executable", "/elsewhere/python3")

    assert bootstrap.stamp() != before


def test_without_venv_an_ordinary_user_is_told_what_to_install(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "has_venv", lambda: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert bootstrap.main() == 1
    assert "apt-get install python3-venv" in capsys.readouterr().err
    assert not bootstrap.STAMP.exists()


def test_a_failed_download_is_one_clear_message(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"is there a network\?") as raised:
        bootstrap.run([sys.executable, "-c", "raise SystemExit('no route')"], "is there a network?")

    assert "no route" in str(raised.value)
