"""The scaler on Kubernetes, put together."""

from __future__ import annotations

import logging
import secrets
import socket
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY

from warren.amqp import connect as connect_broker
from warren.amqp.management import Management
from warren.lifecycle import Closing, StopSignal
from warren.probes import Health, Probes
from warren.settings import BrokerSettings, LifeSettings
from warren_scaler.deployments.api import ApiCluster, ApiLeases, connect
from warren_scaler.deployments.controller import Controller
from warren_scaler.deployments.lease import Election
from warren_scaler.deployments.meters import Meters
from warren_scaler.deployments.orders import Orders
from warren_scaler.deployments.statuses import Statuses
from warren_scaler.depths import Depths
from warren_scaler.settings import ClusterSettings

logger = logging.getLogger(__name__)

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def run(stop: StopSignal, settings: ClusterSettings, life: LifeSettings, broker: BrokerSettings) -> int:
    """Scale worker sets until told to stop; all replicas run this, and the one that leads acts.

    Raises:
        KubernetesError: There is no cluster.
        SettingsError: The probe port cannot be had.
    """
    # A container that starts again in the same pod is another candidate: it knows nothing of what the last one did.
    me = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    client = connect()
    namespace = settings.namespace or _own_namespace()
    with Closing() as closing:
        closing.add("kubernetes", client.close)
        management = Management(broker)
        closing.add("management", management.close)
        transport = connect_broker(broker)
        transport.start()
        closing.add("transport", transport.stop)
        statuses = Statuses(settings.status_port)
        closing.add("statuses", statuses.close)
        election = Election(ApiLeases(client, namespace, settings.lease), me, settings.lease_seconds)
        controller = Controller(
            ApiCluster(client, namespace, settings.selector, me),
            Depths(management).each,
            statuses.ask,
            Orders(transport),
            leading=lambda: election.leading,
            meters=Meters(REGISTRY),
            interval_seconds=settings.interval_seconds,
            guard=settings.guard,
        )
        probes = Probes(life.probe_bind, Health(dead=controller.dead, unready=controller.dead), REGISTRY)
        probes.start()
        closing.add("probes", probes.stop)
        election.start()
        closing.add("election", election.stop)
        logger.info("scaling %s in %s", settings.selector, namespace, extra={"event": "scaler_started", "me": me})
        controller.run(stop)
    logger.info("stopped", extra={"event": "scaler_stopped"})
    return 0


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "default"
