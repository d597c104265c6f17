"""Make `.venv` with everything the lock pins and the four members, from nothing but Python 3.11.

Standard library only. A stamp beside the environment makes a second run cost nothing; it covers the lock, the members'
metadata and the interpreter.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
STAMP = VENV / ".warren-stamp"
MEMBERS = ("warren", "server", "worker", "scaler")
LEAST = (3, 11)


class BootstrapError(Exception):
    """Something that the user has to do, as one message."""


def main() -> int:
    """Make the environment unless it is as it should be."""
    try:
        check_version(sys.version_info[:2])
        wanted = stamp()
        if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted and python().exists():
            return 0
        print("making .venv ...", flush=True)
        make_environment()
        install()
    except BootstrapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    STAMP.write_text(wanted, encoding="utf-8")
    return 0


def check_version(version: tuple[int, ...]) -> None:
    """Refuse a Python that is too old."""
    if version < LEAST:
        raise BootstrapError(
            f"Python {'.'.join(map(str, version))} is too old: Warren needs 3.11 or newer; "
            "install it and say which: make PYTHON=python3.11 ..."
        )


def stamp() -> str:
    """Return what the environment depends on, as one digest."""
    digest = hashlib.sha256(f"{sys.version} {sys.executable}".encode())
    for file in (LOCK, Path(__file__), *(ROOT / member / "pyproject.toml" for member in MEMBERS)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def python() -> Path:
    """Return the environment's interpreter."""
    return VENV / "bin" / "python"


def make_environment() -> None:
    """Make an environment with pip, unless there is one of this Python; install Debian's venv package if need be."""
    version = f"import sys; sys.exit(sys.version_info[:3] != {tuple(sys.version_info[:3])!r})"
    if (VENV / "bin" / "pip").exists() and python().exists() and run_quiet([str(python()), "-c", version]) == 0:
        return
    if VENV.exists():
        shutil.rmtree(VENV)
    if not has_venv():
        install_venv_package()
    run([sys.executable, "-m", "venv", str(VENV)], "could not make .venv")


def has_venv() -> bool:
    """Whether this Python can make an environment; Debian ships the two modules in a package of their own."""
    return run_quiet([sys.executable, "-c", "import venv, ensurepip"]) == 0


def install_venv_package() -> None:
    """Install Debian's package of the two modules, as root, or say how."""
    names = (f"python{sys.version_info[0]}.{sys.version_info[1]}-venv", "python3-venv")
    advice = f"this Python has no venv module; on Debian or Ubuntu: apt-get install {names[1]}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BootstrapError(advice)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_quiet(["apt-get", "update", "-qq"], environment)
    for name in names:
        print(f"installing {name} ...", flush=True)
        run_quiet(["apt-get", "install", "-y", "-qq", "--no-install-recommends", name], environment)
        if has_venv():
            return
    raise BootstrapError(advice)


def install() -> None:
    """Install the locked packages by their hashes, then the members by their folders."""
    with tempfile.TemporaryDirectory() as folder:
        only_uv = Path(folder) / "uv.lock"
        only_uv.write_text(requirement("uv", LOCK.read_text(encoding="utf-8")), encoding="utf-8")
        pip = [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "--no-deps", "-r", str(only_uv)], "could not download uv: is there a network?")
    uv = [str(VENV / "bin" / "uv"), "pip"]
    target = ["--quiet", "--python", str(python())]
    run([*uv, "sync", *target, "--require-hashes", str(LOCK)], "could not install what requirements.lock pins")
    # Our own folders have no hash, and their dependencies are all in the lock. uv brings the build back end.
    members = [part for member in MEMBERS for part in ("-e", str(ROOT / member))]
    build = ["--no-deps", "--no-build-isolation"]
    run([*uv, "install", *target, *build, *members], "could not install the four members")


def requirement(name: str, lock: str) -> str:
    """Return the lines of one package, with its hashes, from a requirements file."""
    lines = lock.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith(f"{name}==")), None)
    if start is None:
        raise BootstrapError(f"requirements.lock does not pin {name}: run make lock")
    end = start + 1
    while end < len(lines) and lines[end].startswith((" ", "\t")):
        end += 1
    return "\n".join(lines[start:end]) + "\n"


def run(command: list[str], complaint: str) -> None:
    """Run a command and show its output only when it fails."""
    # A user's pip.conf or environment may name an index: that is theirs to choose. PYTHONPATH would leak packages in.
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if done.returncode:
        output = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-20:])
        raise BootstrapError(f"{complaint}\n{' '.join(command)} said:\n{output}")


def run_quiet(command: list[str], environment: dict[str, str] | None = None) -> int:
    """Run a command without output and return its status."""
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
