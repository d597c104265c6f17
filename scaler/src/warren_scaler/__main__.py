"""`python -m warren_scaler local`: keep a fleet of local workers at the size the queues deserve, until told to stop.

Exits 0 after all workers have drained, 1 when some had to be killed, 2 when a setting is wrong.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from prometheus_client import REGISTRY

from warren.amqp.management import Management
from warren.errors import LocalStackError, SettingsError
from warren.lifecycle import Closing, StopSignal
from warren.logs import configure_logs
from warren.probes import Health, Probes
from warren.settings import BrokerSettings, LifeSettings, LogSettings, load
from warren_scaler.depths import Depths
from warren_scaler.local import LocalFleet
from warren_scaler.loop import Loop
from warren_scaler.settings import ScalerSettings

logger = logging.getLogger("warren_scaler")

USAGE: Final = "usage: python -m warren_scaler local\n"
# On top of the workers' own drain time, for their last events and acks.
_FLUSH_SECONDS: Final = 15.0


def main(arguments: list[str]) -> int:
    """Run the scaler.

    Args:
        arguments: The mode; only `local` so far.

    Returns:
        The exit status.
    """
    if arguments != ["local"]:
        sys.stderr.write(USAGE)
        return 2
    stop = StopSignal()
    stop.install()
    try:
        return run(stop)
    except SettingsError as error:
        sys.stderr.write(f"warren scaler: {error}\n")
        return 2


def run(stop: StopSignal) -> int:
    """Read the settings and scale local workers until told to stop.

    Raises:
        SettingsError: A setting is wrong.
    """
    settings, life, broker = load(ScalerSettings), load(LifeSettings), load(BrokerSettings)
    configure_logs(load(LogSettings), component="scaler")
    # Our probe port is ours; each worker takes a free one.
    environment = dict(os.environ) | {
        "WARREN_PROBE_BIND": "127.0.0.1:0",
        "WARREN_DRAIN_SECONDS": str(life.drain_seconds),
    }
    fleet = LocalFleet([sys.executable, "-m", "warren_worker"], environment, settings.log_folder)
    with Closing() as closing:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
