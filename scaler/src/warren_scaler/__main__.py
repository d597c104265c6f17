"""`python -m warren_scaler local|kubernetes`: keep fleets of workers at the size their queues deserve.

`local` keeps processes of this machine, `kubernetes` Deployments of a cluster.

Exits 0 after all workers have drained, 1 when some had to be killed, 2 when a setting is wrong.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from prometheus_client import REGISTRY

from warren.amqp.management import Management
from warren.errors import KubernetesError, LocalStackError, SettingsError
from warren.lifecycle import Closing, StopSignal
from warren.logs import configure_logs
from warren.probes import Health, Probes
from warren.settings import BrokerSettings, LifeSettings, LogSettings, load
from warren_scaler.depths import Depths
from warren_scaler.local import LocalFleet
from warren_scaler.loop import Loop
from warren_scaler.settings import ClusterSettings, ScalerSettings

logger = logging.getLogger("warren_scaler")

USAGE: Final = "usage: python -m warren_scaler local|kubernetes\n"
# On top of the workers' own drain time, for their last events and acks.
_FLUSH_SECONDS: Final = 15.0


def main(arguments: list[str]) -> int:
    """Run the scaler.

    Args:
        arguments: The mode.

    Returns:
        The exit status.
    """
    if arguments not in (["local"], ["kubernetes"]):
        sys.stderr.write(USAGE)
        return 2
    stop = StopSignal()
    stop.install()
    try:
        return run(stop) if arguments == ["local"] else run_on_kubernetes(stop)
    except (SettingsError, KubernetesError) as error:
        sys.stderr.write(f"warren scaler: {error}\n")
        return 2


def run(stop: StopSignal) -> int:
    """Read the settings and scale local workers until told to stop.

    Raises:
        SettingsError: A setting is wrong.
    """
    settings, life, broker = load(ScalerSettings), load(LifeSettings), load(BrokerSettings)
    configure_logs(load(LogSettings), component="scaler")
    environment = dict(os.environ) | {"WARREN_DRAIN_SECONDS": str(life.drain_seconds)}
    fleet = LocalFleet([sys.executable, "-m", "warren_worker"], environment, settings.log_folder)
    with Closing() as closing:
        closing.add("fleet", fleet.close)
        management = Management(broker)
        closing.add("management", management.close)
        loop = Loop(fleet, Depths(management).look, settings)
        probes = Probes(life.probe_bind, Health(dead=loop.dead, unready=loop.dead), REGISTRY)
        probes.start()
        closing.add("probes", probes.stop)
        loop.run(stop)
        logger.info("draining all workers", extra={"event": "scaler_draining"})
        try:
            fleet.stop(life.drain_seconds + _FLUSH_SECONDS)
        except LocalStackError as error:
            logger.error("%s", error, extra={"event": "workers_killed"})  # noqa: TRY400 - the message says it all
            return 1
    logger.info("stopped", extra={"event": "scaler_stopped"})
    return 0


def run_on_kubernetes(stop: StopSignal) -> int:
    """Read the settings and scale Deployments until told to stop.

    Raises:
        SettingsError: A setting is wrong.
        KubernetesError: There is no cluster.
    """
    # The client takes a second to import and memory to keep, which the local mode has no use for.
    from warren_scaler.deployments.run import run as run_deployments

    configure_logs(load(LogSettings), component="scaler")
    return run_deployments(stop, load(ClusterSettings), load(LifeSettings), load(BrokerSettings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
