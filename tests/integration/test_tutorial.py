"""The tutorial's commands are run, and print what the page says."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from processes import free_port
from tutorial import commands, files, matches
from waiting import eventually
from warren.settings import BrokerSettings


@pytest.mark.timeout(180)
def test_every_command_of_the_tutorial_does_what_the_page_says(tmp_path: Path, amqp: BrokerSettings) -> None:
    assert amqp.url is not None
    assert amqp.management_url is not None
    port = free_port()
    for name, content in files():
        (tmp_path / name).write_text(content)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
        "WARREN_AMQP_URL": amqp.url.get_secret_value(),
        "WARREN_AMQP_MANAGEMENT_URL": amqp.management_url.get_secret_value(),
        "WARREN_SERVER_BIND": f"127.0.0.1:{port}",
        "WARREN_URL": f"http://127.0.0.1:{port}",
        "WARREN_TASKS": "my_tasks",
    }
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(["warren", "up"], env=environment, cwd=tmp_path, stdout=log, stderr=log)
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60)

        for command in commands():
            line = command.line.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            ran = subprocess.run(
                shlex.split(line), env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90
            )

            said = ran.stdout + ran.stderr
            assert ran.returncode == command.exit_code, f"{line}: {said}\n{(tmp_path / 'up.log').read_text()[-2000:]}"
            assert matches(command.expected, said), f"{line} printed {said!r}, the page says {command.expected!r}"
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(60)
    assert up.returncode == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
