"""RabbitMQ from the distribution's packages, with its own service left off.

`python -m warren.local.packages` sees to it that a `rabbitmq-server` is on this machine, or says what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from warren.errors import LocalStackError
from warren.local.node import find_server

ADVICE: Final = (
    "install one of: rabbitmq-server (Debian, Ubuntu: sudo apt-get install rabbitmq-server; macOS: brew install "
    "rabbitmq), or Docker with Compose; or set WARREN_AMQP_URL to a broker that runs elsewhere"
)
_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_INSTALL_SECONDS: Final = 900
_OUTPUT_LINES: Final = 15


def can_install() -> bool:
    """Whether packages can be installed here: root, on Debian or a descendant."""
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def install_rabbitmq() -> None:
    """Install RabbitMQ without letting its service start.

    Raises:
        LocalStackError: The package manager failed; with the end of its output.
    """
    with services_held():
        _run(["apt-get", "update", "-qq"], fatal=False)
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "rabbitmq-server"])


@contextmanager
def services_held(policy: Path = _POLICY) -> Iterator[None]:
    """Keep packages from starting services meanwhile, by Debian's policy-rc.d (101: action forbidden).

    What was there before is put back (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt).

    Args:
        policy: Where the policy is; another place for tests.
    """
    kept = policy.with_name(f"{policy.name}.before-warren")
    if policy.exists() or policy.is_symlink():
        policy.rename(kept)
    try:
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)
        if kept.exists() or kept.is_symlink():
            kept.rename(policy)


def _run(command: list[str], *, fatal: bool = True) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalStackError(f"{' '.join(command)} took longer than {_INSTALL_SECONDS} s; {ADVICE}") from error
    if done.returncode and fatal:
        output = "\n".join(done.stdout.splitlines()[-_OUTPUT_LINES:])
        raise LocalStackError(f"{' '.join(command)} failed with status {done.returncode}:\n{output}\n{ADVICE}")


def main() -> int:
    """Install RabbitMQ when there is none and it can be; say so.

    Returns:
        The exit status.
    """
    if find_server() is not None:
        return 0
    if not can_install():
        sys.stderr.write(f"no RabbitMQ on this machine; {ADVICE}\n")
        return 1
    sys.stdout.write("installing rabbitmq-server (its service is left off) ...\n")
    sys.stdout.flush()
    try:
        install_rabbitmq()
    except LocalStackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
