"""The plots, one picture a measure, by matplotlib (the extra `warren[plot]`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.readings import Quantity
from bench.results import Results, Series

_BARS: Final = {
    "publish": ("publish.one.64", "publish.bulk.64"),
    "worker": ("worker.noop.rate", "worker.sleep.rate", "worker.cpu.rate"),
    "latency": ("latency.p50", "latency.p99"),
    "memory": ("memory.idle.process", "memory.load.workers"),
    "cpu": ("cpu.noop",),
}
_OURS: Final = "#c2571a"
_THEIRS: Final = "#8a8f98"


def draw(results: Results, folder: Path) -> list[str]:
    """Draw what there is to draw.

    Args:
        results: What the run came to.
        folder: Where the pictures go.

    Returns:
        The names of the files.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn: list[str] = []
    for measure, ids in _BARS.items():
        quantities = [one for one in results.quantities if one.id in ids and _who(results, one)]
        if quantities:
            figure, axes = plt.subplots(1, len(quantities), figsize=(4.5 * len(quantities), 3.2), squeeze=False)
            for axis, quantity in zip(axes[0], quantities, strict=True):
                _bars(axis, results, quantity)
            drawn.append(_save(plt, figure, folder / f"{measure}.png"))
    if results.series:
        titles = list(dict.fromkeys(series.title for series in results.series))
        figure, axes = plt.subplots(1, len(titles), figsize=(4.5 * len(titles), 3.2), squeeze=False)
        for axis, title in zip(axes[0], titles, strict=True):
            _curves(axis, title, [series for series in results.series if series.title == title])
        drawn.append(_save(plt, figure, folder / "backlog.png"))
    return drawn


def _who(results: Results, quantity: Quantity) -> list[str]:
    return [one.name for one in results.about if (quantity.id, one.name) in results.summaries]


def _bars(axis: Any, results: Results, quantity: Quantity) -> None:
    summaries = results.summaries
    names = _who(results, quantity)[::-1]
    found = [summaries[quantity.id, name] for name in names]
    medians = [one.median for one in found]
    reach = [
        [one.median - one.low for one in found],
        [one.high - one.median for one in found],
    ]
    colours = [_OURS if name.startswith("warren") else _THEIRS for name in names]
    axis.barh(names, medians, xerr=reach, color=colours, ecolor="#333333", capsize=2)
    axis.set_title(f"{quantity.title}, {quantity.unit}", fontsize=9)
    _tidy(axis)


def _curves(axis: Any, title: str, series: Sequence[Series]) -> None:
    for one in series:
        axis.plot([x for x, _ in one.points], [y for _, y in one.points], marker="o", markersize=3, label=one.contender)
    axis.set_title(f"{title}, {series[0].unit}", fontsize=9)
    axis.set_xlabel("tenth", fontsize=8)
    axis.set_ylim(0, max(y for one in series for _, y in one.points) * 1.15 or 1)
    axis.legend(fontsize=7, frameon=False)
    _tidy(axis)


def _tidy(axis: Any) -> None:
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _save(plt: Any, figure: Any, file: Path) -> str:
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)
    return file.name
