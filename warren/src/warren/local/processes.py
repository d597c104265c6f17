"""Child processes that have a log, end with their parent, and stop in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from warren.errors import LocalStackError

_TETHER: Final = str(Path(__file__).with_name("tether.py"))
_TAIL_LINES: Final = 20


class Child:
    """One child process, started in its own process group.

    It gets SIGTERM when the thread that started it ends (PR_SET_PDEATHSIG is about the thread, prctl(2)), so start
    children from the main thread.

    Args:
        name: What to call it in messages.
        command: Program and arguments.
        log: File that gets its output, appended to.
        environment: Its whole environment; this process' own unless given.
        folder: Its working directory.
        keep_open: File descriptors it inherits.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(os.environ if environment is None else environment)
        self._folder = folder
        self._keep_open = tuple(keep_open)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, or None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal, or None while it runs or before the start."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; does nothing while it runs.

        Raises:
            LocalStackError: The log cannot be written or the program cannot be run.
        """
        if self.running:
            return
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", _TETHER, str(os.getpid()), *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    cwd=self._folder,
                    start_new_session=True,
                    pass_fds=self._keep_open,
                )
        except OSError as error:
            raise LocalStackError(f"{self.name} could not be started: {error}") from error

    def terminate(self) -> None:
        """Ask it to stop; does not wait."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for its end; False when the time is up first."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, timeout_seconds: float) -> None:
        """Ask it to stop, wait, and kill its whole process group when the time is up."""
        self.terminate()
        if not self.wait(timeout_seconds):
            self.kill()

    def kill(self) -> None:
        """Kill its process group and wait for its end."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ended(self) -> str:
        """Say how it ended, with the end of its log."""
        return f"{self.name} ended with status {self.returncode}; its log {self.log} ends with:\n{tail(self.log)}"


def tail(file: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a file, or a note that there are none."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace").rstrip()
    except FileNotFoundError:
        text = ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    return state != "Z"


def pause(seconds: float = 0.05) -> None:
    """Wait a moment between two looks at a condition."""
    time.sleep(seconds)
