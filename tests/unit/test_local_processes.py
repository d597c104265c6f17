"""Child processes: logs, orderly ends, and no survivors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from waiting import eventually
from warren.errors import LocalStackError
from warren.local import ports
from warren.local.processes import Child, is_alive, tail

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
DEAF = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()",
]


def is_up(child: Child) -> bool:
    return "up" in child.log.read_text()


def test_a_child_runs_until_it_is_stopped(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEPER, log=tmp_path / "logs" / "sleeper.log")
    before = (child.running, child.pid, child.returncode)

    child.start()
    child.start()
    eventually(lambda: is_up(child))
    during = child.running
    child.stop(10)
    child.stop(10)

    assert before == (False, None, None)
    assert during
    assert (child.running, child.returncode) == (False, -signal.SIGTERM)


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    child = Child("deaf", DEAF, log=tmp_path / "deaf.log")
    child.start()
    eventually(lambda: is_up(child))

    child.stop(0.1)

    assert child.returncode == -signal.SIGKILL


def test_a_child_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    child = Child("idle", SLEEPER, log=tmp_path / "idle.log")

    child.stop(1)
    child.kill()

    assert child.wait(1)


def test_a_child_that_died_shows_the_end_of_its_log(tmp_path: Path) -> None:
    child = Child(
        "brief", [sys.executable, "-c", "print('the last words'); raise SystemExit(7)"], log=tmp_path / "b.log"
    )
    child.start()

    assert child.wait(10)

    assert child.ended().startswith("brief ended with status 7; its log")
    assert child.ended().endswith("    the last words")


def test_a_child_without_a_folder_cannot_start(tmp_path: Path) -> None:
    child = Child("lost", SLEEPER, log=tmp_path / "lost.log", folder=tmp_path / "absent")

    with pytest.raises(LocalStackError, match="lost could not be started"):
        child.start()


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent_code = textwrap.dedent(f"""
        import signal
        from pathlib import Path
        from warren.local.processes import Child
        child = Child("sleeper", {SLEEPER!r}, log=Path({str(tmp_path / "sleeper.log")!r}))
        child.start()
        print(child.pid, flush=True)
        signal.pause()
    """)
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    eventually(lambda: "up" in (tmp_path / "sleeper.log").read_text())

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    eventually(lambda: not is_alive(pid))


def test_a_command_whose_parent_is_already_gone_does_not_run() -> None:
    tether = Path(ports.__file__).with_name("tether.py")
    nobody = str(2**22 + 1)

    done = subprocess.run([sys.executable, str(tether), nobody, "echo", "ran"], capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stdout == ""
    assert f"the process {nobody} that started echo is gone" in done.stderr


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "absent.log") == "    (nothing)"


def test_a_tail_is_the_last_lines(tmp_path: Path) -> None:
    (tmp_path / "long.log").write_text("\n".join(map(str, range(100))))

    assert tail(tmp_path / "long.log", lines=2) == "    98\n    99"


def test_liveness_of_processes() -> None:
    ended = subprocess.Popen(["true"])
    eventually(lambda: not is_alive(ended.pid))
    ended.wait()

    assert is_alive(os.getpid())
    assert not is_alive(ended.pid)


def test_free_ports_are_free_and_below_the_ephemeral_range() -> None:
    port = ports.free_port(also_offset=ports.MANAGEMENT_OFFSET)

    assert ports.is_free(port)
    assert ports.is_free(port + 10000)
    assert port + 10000 < 32768


def test_running_out_of_ports_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _port: False)

    with pytest.raises(OSError, match="no free port between 12000 and 22000"):
        ports.free_port()
