"""What the peers need: a virtual environment of their own, and PerfTest's jars. Made once, below `.bench/`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.errors import BenchError

HOME: Final = Path(__file__).parent.parent
FOLDER: Final = HOME / ".bench"
REQUIREMENTS: Final = Path(__file__).with_name("requirements-peers.txt")
POM: Final = Path(__file__).with_name("perf-test.xml")
_JAVA_SECONDS: Final = 600.0


def peers_python() -> Path:
    """Return the interpreter of the peers' environment, which is made when it is not as the requirements say."""
    python = FOLDER / "peers" / "bin" / "python"
    stamp = FOLDER / "peers" / ".stamp"
    wanted = hashlib.sha256(sys.version.encode() + REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return python
    uv = str(Path(sys.executable).with_name("uv"))
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER / "peers")])
    # Compiled now: otherwise the first start of each would be charged with it.
    quiet = [uv, "pip", "install", "--quiet", "--compile-bytecode"]
    _run([*quiet, "--python", str(python), "--requirements", str(REQUIREMENTS)])
    stamp.write_text(wanted, encoding="ascii")
    return python


def perf_test_jars() -> Path:
    """Return the folder of PerfTest's jars, which Maven brings from Maven Central when they are not there.

    Raises:
        BenchError: There is no Java, no Maven, or no jars to be had; with what to do.
    """
    if shutil.which("java") is None:
        raise BenchError("there is no `java` on this machine")
    folder = FOLDER / "perf-test"
    stamp = folder / ".stamp"
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise BenchError("there is Java, but no `mvn` to bring com.rabbitmq:perf-test")
    shutil.rmtree(folder, ignore_errors=True)
    quiet = [maven, "-q", "-B", "-ntp", "-f", str(POM)]
    _run([*quiet, "dependency:copy-dependencies", f"-DoutputDirectory={folder}"])
    stamp.write_text(wanted, encoding="ascii")
    return folder


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_JAVA_SECONDS)
    if done.returncode:
        said = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-10:])
        raise BenchError(f"`{' '.join(command)}` failed:\n{said}")
