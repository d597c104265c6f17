"""The report of the faults: each test leaves a row, and a full run writes them all to `report.md`."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from faults.checker import INVARIANTS, Verdict

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
"""Rows of the last run of each fault on each broker, one file each; not in version control."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one fault on one broker.

    Attributes:
        fault: Number and name, such as `F1 SIGKILL of a worker`.
        broker: The broker's version.
        jobs: Jobs accepted.
        unknown: Submits whose outcome the client never learnt.
        refused: Submits certainly not accepted.
        jobs_per_second: The load.
        lost: Jobs accepted and gone.
        unexpected: Jobs nobody submitted, or too early.
        duplicates: Effects that happened again.
        duplicates_bound: How many may.
        copies: Jobs a fault made two of.
        wrong_states: Jobs without exactly one terminal state, the right one.
        left: Messages left anywhere.
        recovery_seconds: How long recovery took, or None.
        violated: Invariants that did not hold.
        note: Further figures.
        at: When.
    """

    fault: str
    broker: str
    jobs: int
    unknown: int
    refused: int
    jobs_per_second: float
    lost: int
    unexpected: int
    duplicates: int
    duplicates_bound: int
    copies: int
    wrong_states: int
    left: int
    recovery_seconds: float | None
    violated: tuple[str, ...]
    note: str
    at: str

    @classmethod
    def of(cls, fault: str, broker: str, verdict: Verdict, *, jobs_per_second: float, note: str = "") -> Row:
        """Take the figures of a verdict."""
        return cls(
            fault=fault,
            broker=broker,
            jobs=verdict.accepted,
            unknown=verdict.unknown,
            refused=verdict.refused,
            jobs_per_second=round(jobs_per_second, 1),
            lost=verdict.lost,
            unexpected=verdict.unexpected + verdict.early,
            duplicates=verdict.duplicates,
            duplicates_bound=verdict.duplicates_bound,
            copies=verdict.copies,
            wrong_states=verdict.wrong_states,
            left=verdict.left,
            recovery_seconds=None if verdict.recovery_seconds is None else round(verdict.recovery_seconds, 2),
            violated=tuple(name for name, found in verdict.violations.items() if found),
            note=note,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def summary(self) -> str:
        """The row in one line, for the terminal."""
        recovery = "" if self.recovery_seconds is None else f", recovered in {self.recovery_seconds} s"
        return (
            f"{self.fault} on RabbitMQ {self.broker}: {self.jobs} jobs at {self.jobs_per_second:.0f}/s, "
            f"{self.unknown} unknown, {self.refused} refused, lost {self.lost}, unexpected {self.unexpected}, "
            f"duplicates {self.duplicates} and copies {self.copies} of {self.duplicates_bound}, "
            f"wrong states {self.wrong_states}, left {self.left}{recovery}{f'; {self.note}' if self.note else ''}"
        )


class Report:
    """Keeps rows, in a folder when there is one.

    Args:
        folder: Where rows are kept between runs; none keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def add(self, row: Row) -> None:
        """Keep a row, in place of the last one of this fault on this broker."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = re.sub(r"[^a-z0-9+-]+", "_", f"{row.fault} {row.broker}".lower())
            (self._folder / f"{name}.json").write_text(json.dumps(asdict(row), indent=2) + "\n", encoding="utf-8")

    def rows(self) -> list[Row]:
        """Return all rows, by fault and broker."""
        if self._folder is None:
            return []
        read = (json.loads(file.read_text(encoding="utf-8")) for file in self._folder.glob("*.json"))
        rows = [Row(**(document | {"violated": tuple(document["violated"])})) for document in read]
        return sorted(rows, key=lambda row: (_order(row.fault), row.fault, row.broker))


def write(rows: Iterable[Row], file: Path) -> None:
    """Write the report."""
    file.write_text(render(list(rows)), encoding="utf-8")


def render(rows: list[Row]) -> str:
    """Render the report as Markdown."""
    days = sorted({row.at[:10] for row in rows})
    brokers = ", ".join(sorted({row.broker for row in rows}))
    head = f"""\
# Faults

Written by `make faults`; run it to see for yourself. Every fault strikes real servers, workers and brokers while jobs
come in at 200 a second or more. An offline checker (`tests/faults/checker.py`) then reads the history of every submit,
run, effect and final state. ✔ holds, ✘ does not.

Warren {version("warren")}, RabbitMQ {brokers or "none"}, Python {platform.python_version()}, \
{platform.system()} {platform.machine()}; {" to ".join([days[0], days[-1]][: len(days)]) if days else "never run"}.

"""
    return head + "\n".join([*_figures(rows), "", *_matrix(rows), "", *_legend()]) + "\n"


def _figures(rows: list[Row]) -> list[str]:
    columns = (
        "jobs",
        "jobs/s",
        "unknown",
        "refused",
        "lost",
        "unexpected",
        "duplicates",
        "copies",
        "bound",
        "wrong end",
        "left",
    )
    lines = [
        "## Figures",
        "",
        f"| Fault | RabbitMQ | {' | '.join(columns)} | recovery, s | |",
        f"|---|---|{'--:|' * (len(columns) + 1)}---|",
    ]
    for row in rows:
        recovery = "–" if row.recovery_seconds is None else f"{row.recovery_seconds:g}"
        lines.append(
            f"| {row.fault} | {row.broker} | {row.jobs} | {row.jobs_per_second:.0f} | {row.unknown} | {row.refused} "
            f"| {row.lost} | {row.unexpected} | {row.duplicates} | {row.copies} | {row.duplicates_bound} "
            f"| {row.wrong_states} | {row.left} | {recovery} | {row.note} |"
        )
    return lines


def _matrix(rows: list[Row]) -> list[str]:
    lines = [
        "## Invariants",
        "",
        f"| Fault | RabbitMQ | {' | '.join(INVARIANTS)} |",
        f"|---|---|{':-:|' * len(INVARIANTS)}",
    ]
    for row in rows:
        marks = " | ".join("✘" if name in row.violated else "✔" for name in INVARIANTS)
        lines.append(f"| {row.fault} | {row.broker} | {marks} |")
    return lines


def _legend() -> list[str]:
    return [
        *(f"- **{name}** {meaning}." for name, meaning in INVARIANTS.items()),
        "",
        "*Unknown*: the client got no answer; such a job may run, once, or not at all.",
        "*Refused*: certainly not accepted; such a job may never run. *Duplicates*: effects that happened again;",
        "*copies*: failing jobs of which a fault made two, each with its own attempts; *bound*: faults x in flight.",
    ]


def _order(fault: str) -> int:
    number = re.match(r"F(\d+)", fault)
    return int(number[1]) if number else sys.maxsize
