"""Wait until a RabbitMQ takes AMQP connections, by its management API: `wait_for_broker.py http://user:password@host:port`.

Asked from outside: a command run inside a container that is still starting would make its cookie, and break the start.
"""

from __future__ import annotations

import sys
import time

import httpx

WAIT_SECONDS = 120.0


def main(url: str) -> int:
    """Wait; 0 when the broker is up, 1 when the time is up."""
    deadline = time.monotonic() + WAIT_SECONDS
    said = ""
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{url}/api/health/checks/port-listener/5672", trust_env=False, timeout=5)
        except httpx.TransportError as error:
            said = str(error)
        else:
            if answer.is_success:
                return 0
            said = f"{answer.status_code} {answer.text}"
        time.sleep(0.5)
    print(f"no broker after {WAIT_SECONDS:g} s: {said}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
