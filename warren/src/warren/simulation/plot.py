"""Pictures of replays: backlog, workers and waiting time, one above the other. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from warren.errors import SettingsError
from warren.simulation.traces import Trace
from warren.simulation.world import Record

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#009E73", "#D55E00", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9")


def plot(trace: Trace, records: Mapping[str, Record], file: Path) -> None:
    """Draw replays of one trace, by rule, into a PNG.

    Raises:
        SettingsError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise SettingsError("--plot needs matplotlib: pip install 'warren[plot]', or pip install matplotlib") from error
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (backlog, workers, waiting) = plt.subplots(3, 1, figsize=(9, 8), sharex=True, layout="constrained")
    for (rule, record), colour in zip(records.items(), _COLOURS, strict=False):
        at = [sample[0] for sample in record.samples]
        # What is alike lies on top of each other: the gaps of the upper line show the one below.
        line = "--" if rule == list(records)[-1] else "-"
        backlog.plot(at, [sample[1] for sample in record.samples], line, color=colour, label=rule)
        workers.plot(at, [sample[3] for sample in record.samples], line, color=colour, drawstyle="steps-post")
        starts = sorted(record.waits)
        waiting.plot([at for at, _ in starts], [wait for _, wait in starts], ".", color=colour, markersize=3)
    backlog.set_title(trace.says)
    for axes, label in ((backlog, "jobs waiting"), (workers, "workers up"), (waiting, "wait of a job, s")):
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    waiting.set_xlabel("seconds")
    backlog.legend()
    try:
        # No version in the file, so that the same replay gives the same picture.
        figure.savefig(file, dpi=100, metadata={"Software": None})
    except (OSError, ValueError) as error:
        raise SettingsError(f"--plot {file}: cannot be written: {error}") from error
    finally:
        plt.close(figure)
