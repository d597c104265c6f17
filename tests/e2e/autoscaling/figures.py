"""The figures of the scenarios: kept from run to run, and written as JSON and as the table of the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

FILE = Path(__file__).with_name("figures.json")
"""Figures of the last run of each scenario in each mode."""
REPORT = Path(__file__).with_name("report.md")
MODES = {"keda-default": "KEDA default", "keda-tuned": "KEDA tuned", "scaler": "built-in"}
NOT_ASKED = "–"
NOT_MEASURED = "not measured"

Found = Mapping[str, Any]


class Book:
    """Takes in figures.

    Args:
        file: Where they are kept, the table beside it; None for nowhere.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        known = FILE if file is None else file
        self.figures: dict[str, Any] = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}

    def put(self, scenario: str, mode: str, found: object) -> None:
        """Keep what a scenario came to in a mode, over what it came to before, and say it."""
        told = datetime.now(UTC).isoformat(timespec="seconds")
        self.figures.setdefault(scenario, {})[mode] = {"at": told, "figures": found}
        print(f"\n{scenario}, {mode}: {json.dumps(found)}")
        if self._file is not None:
            self._file.write_text(json.dumps(self.figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            self._file.with_name(REPORT.name).write_text(rendered(self.figures), encoding="utf-8")

    def get(self, scenario: str, mode: str) -> Any:
        """Return what a scenario came to in a mode; it must have been measured."""
        return figures_of(self.figures, scenario, mode)


def figures_of(figures: Found, scenario: str, mode: str) -> Any:
    """Return what a scenario came to in a mode.

    Raises:
        KeyError: It was not measured.
    """
    return figures[scenario][mode]["figures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table.

    Attributes:
        scenario: Key of the scenario.
        says: What stands in the first column.
        cell: Makes a cell of the figures of a mode.
        modes: Modes that have one.
    """

    scenario: str
    says: str
    cell: Callable[[Any], str]
    modes: Sequence[str] = tuple(MODES)


def seconds(name: str) -> Callable[[Found], str]:
    """Show a figure as seconds."""

    def cell(found: Found) -> str:
        return "never" if found[name] is None else f"{found[name]:.1f} s"

    return cell


def number(name: str) -> Callable[[Found], str]:
    """Show a figure as it is."""
    return lambda found: str(found[name])


def path(name: str) -> Callable[[Found], str]:
    """Show the numbers a Deployment was told."""
    return lambda found: ", ".join(map(str, found[name]))


def _wake(found: Sequence[Found]) -> str:
    parts = (fmean(one[name] for one in found) for name in ("asked", "pod", "program"))
    total = [one["total"] for one in found]
    spread = f"{min(total):.1f} to {max(total):.1f} s in {len(total)} runs" if len(total) > 1 else f"{total[0]:.1f} s"
    return f"{spread}: {' + '.join(f'{part:.1f}' for part in parts)}"


KEDA_AND_BUILT_IN = ("keda-tuned", "scaler")
ROWS = (
    Row(scenario="burst", says="**400 jobs of 2 s on no worker**: 20 pods run after", cell=seconds("running")),
    Row(scenario="burst", says="20 pods are ready after", cell=seconds("ready")),
    Row(scenario="burst", says="95 of 100 jobs waited less than", cell=seconds("wait_p95")),
    Row(scenario="burst", says="the last job ended after", cell=seconds("done")),
    Row(scenario="burst", says="the first worker was asked for after", cell=seconds("asked")),
    Row(scenario="burst", says="replicas told", cell=path("replicas")),
    Row(scenario="burst", says="from a pod's creation to its first job, mean", cell=seconds("start")),
    Row(
        scenario="shrink",
        says="**40 jobs of 60 s on 20 workers, the fleet shrinks mid-run**: jobs interrupted",
        cell=number("interrupted"),
    ),
    Row(scenario="shrink", says="jobs redelivered", cell=number("redelivered")),
    Row(
        scenario="shrink",
        says="pods deleted before the last job ended, of them busy",
        cell=lambda found: f"{found['deleted']}, {found['deleted_busy']}",
    ),
    Row(scenario="shrink", says="jobs that ran when the number first fell", cell=number("running_then")),
    Row(scenario="shrink", says="replicas told until then", cell=path("replicas")),
    Row(
        scenario="last",
        says="**the last job runs on, the queue is empty**: its worker is kept to its end",
        cell=lambda found: f"{'yes' if found['kept'] else 'no'}, {found['job_seconds']:.0f} s",
        modes=KEDA_AND_BUILT_IN,
    ),
    Row(
        scenario="last", says="its worker is deleted after the job's end", cell=seconds("gone"), modes=KEDA_AND_BUILT_IN
    ),
    Row(
        scenario="blind",
        says="**management API away for 60 s at 10 workers**: replicas meanwhile",
        cell=path("meanwhile"),
        modes=KEDA_AND_BUILT_IN,
    ),
    Row(
        scenario="blind",
        says="of that, time in which no worker had a job",
        cell=lambda found: f"{found['down'] - found['idle']:.0f} s",
        modes=KEDA_AND_BUILT_IN,
    ),
    Row(
        scenario="leader",
        says="**the scaler's leader is killed in a burst**: next decision after",
        cell=seconds("decided"),
        modes=("scaler",),
    ),
    Row(scenario="leader", says="replicas told since", cell=path("replicas"), modes=("scaler",)),
    Row(scenario="wake", says="**one job on no worker**: from its 202 to its run", cell=_wake),
    Row(
        scenario="by_hand",
        says="**`kubectl scale`, autoscaler on**: put back, with an event, after",
        cell=seconds("put_back"),
        modes=("scaler",),
    ),
    Row(
        scenario="by_hand_off",
        says="autoscaler off: the number stays",
        cell=lambda found: "yes" if found["stayed"] else "no",
        modes=("keda-default", "scaler"),
    ),
)


def rendered(figures: Found) -> str:
    """Write the table."""
    lines = ["| | " + " | ".join(MODES.values()) + " |", "|---|---|---|---|"]
    for row in ROWS:
        cells = [_cell(figures, row, mode) for mode in MODES]
        lines.append(f"| {row.says} | {' | '.join(cells)} |")
    lines += ["", *_simulated(figures)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _cell(figures: Found, row: Row, mode: str) -> str:
    if mode not in row.modes:
        return NOT_ASKED
    try:
        return row.cell(figures_of(figures, row.scenario, mode))
    except KeyError:
        return NOT_MEASURED


def _simulated(figures: Found) -> list[str]:
    """Write the comparison with the simulator."""
    lines = ["| burst | | simulator | cluster | difference |", "|---|---|---|---|---|"]
    for mode, title in MODES.items():
        for name, says in (("wait_p95", "95 of 100 jobs waited less than"), ("done", "the last job ended after")):
            try:
                told = figures_of(figures, "simulator", mode)
                measured = figures_of(figures, "burst", mode)[name]
            except KeyError:
                lines.append(f"| {title} | {says} | {NOT_MEASURED} | | |")
            else:
                off = told[name] / measured - 1
                lines.append(f"| {title} | {says} | {told[name]:.1f} s | {measured:.1f} s | {off:+.0%} |")
    return lines
