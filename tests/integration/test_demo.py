"""`make demo`, as a newcomer runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from warren.settings import BrokerSettings

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_the_demo_ends_with_every_job_in_its_right_state(amqp: BrokerSettings) -> None:
    assert amqp.url is not None
    assert amqp.management_url is not None
    folders = set((ROOT / ".warren").glob("demo-*"))
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "examples"),
        "WARREN_AMQP_URL": amqp.url.get_secret_value(),
        "WARREN_AMQP_MANAGEMENT_URL": amqp.management_url.get_secret_value(),
    }

    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )

    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert "every job is in its right terminal state" in said
    assert "330/330 jobs finished, 0 of 4 workers" in said
    assert [path for path in (ROOT / ".warren" / "demo-output").glob("*.png") if path.stat().st_size]
    assert set((ROOT / ".warren").glob("demo-*")) <= folders | {ROOT / ".warren" / "demo-output"}
