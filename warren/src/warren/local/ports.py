"""Free ports on loopback for the parts of a local stack."""

from __future__ import annotations

import random
import socket
from typing import Final

MANAGEMENT_OFFSET: Final = 10000
"""The management port of a broker is its AMQP port plus this."""

# Below every usual ephemeral range (Linux 32768-60999, IANA 49152-65535), so that no outgoing connection takes a port
# between our look and the child's bind.
_FIRST, _LAST = 12000, 22000
_TRIES: Final = 500


def is_free(port: int) -> bool:
    """Whether a listener can be bound to the port on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(*, also_offset: int = 0) -> int:
    """Choose a free port at random.

    Args:
        also_offset: The port plus this must be free too.

    Raises:
        OSError: None was found in many tries.
    """
    for _ in range(_TRIES):
        port = random.randrange(_FIRST, _LAST)
        if is_free(port) and is_free(port + also_offset):
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST} on 127.0.0.1 in {_TRIES} tries")
