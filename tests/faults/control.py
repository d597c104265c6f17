"""What an operator does to a broker: `rabbitmqctl` on a node of ours."""

from __future__ import annotations

import pytest

from faults.cluster import run_control
from faults.nodes import Broker, ContainerNode
from warren.local.node import PrivateNode


def control(broker: Broker, *command: str) -> str:
    """Run `rabbitmqctl` on a broker; a broker that is not ours is left alone."""
    if isinstance(broker, PrivateNode):
        return run_control(broker._environment(), broker.state.name, *command)
    if isinstance(broker, ContainerNode):
        return broker.execute("rabbitmqctl", "-q", *command)
    pytest.skip(f"{type(broker).__name__} is not ours to change")
