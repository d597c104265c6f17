"""`python -m bench`: run the benchmarks, and write report, results and plots.

Exit status: 0, 1 when something could not be measured, 2 when an option is wrong.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from bench import plots, report
from bench.broker import Broker, broker
from bench.contender import Contender, discover
from bench.measures import backlog, cpu, http_submit, latency, memory, publish, startup, worker
from bench.peers import FOLDER, HOME, peers_python
from bench.readings import Quantity
from bench.results import About, Results
from bench.sizes import FULL, SMOKE, Size, scaled
from bench.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measure.

    Attributes:
        quantities: Says what it measures.
        run: Does it; None when others do it by the way.
    """

    quantities: Callable[[Size], list[Quantity]]
    run: Callable[[Stage], None] | None


MEASURES: Final = {
    "publish": Measure(quantities=publish.quantities, run=publish.measure),
    "http": Measure(quantities=http_submit.quantities, run=http_submit.measure),
    "worker": Measure(quantities=worker.quantities, run=worker.measure),
    "cpu": Measure(quantities=cpu.quantities, run=None),
    "latency": Measure(quantities=latency.quantities, run=latency.measure),
    "memory": Measure(quantities=memory.quantities, run=memory.measure),
    "startup": Measure(quantities=startup.quantities, run=startup.measure),
    "backlog": Measure(quantities=backlog.quantities, run=backlog.measure),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    size = scaled(SMOKE if asked.smoke else FULL, asked.scale)
    size = replace(size, rounds=asked.rounds or size.rounds)
    everybody = discover()
    wanted = [each for each in everybody if asked.contenders is None or each.name in asked.contenders]
    unknown = set(asked.contenders or ()) - {each.name for each in everybody}
    if unknown:
        parser.error(f"--contenders: {', '.join(sorted(unknown))}: must be some of {_names(everybody)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "runs").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{size.name}-", dir=FOLDER / "runs"))
    results = _run(size, wanted, asked.measures or list(MEASURES), folder)
    _write(results, asked.out)
    for line in report.ratios(results):
        print(line)
    for line in [*results.absent, *results.failures]:
        print(line, file=sys.stderr)
    if results.failures:
        print(f"logs: {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _run(size: Size, contenders: list[Contender], measures: Sequence[str], folder: Path) -> Results:
    began = time.monotonic()
    results = Results(quantities=[one for measure in MEASURES.values() for one in measure.quantities(size)])
    python = peers_python()
    with broker(folder / "broker") as running:
        results.facts = facts(size, running)
        for name, value in results.facts.items():
            print(f"{name}: {value}")
        stage = Stage(
            size=size,
            broker=running,
            folder=folder,
            peers_python=python,
            results=results,
            tell=lambda line: print(line, flush=True),
        )
        try:
            for contender in contenders:
                with stage.guarded("the start", contender):
                    _introduce(stage, contender)
            for name in measures:
                measure = MEASURES[name]
                if measure.run is not None:
                    print(f"{name} ({time.monotonic() - began:.0f} s so far)", flush=True)
                    measure.run(stage)
        finally:
            stage.leave()
    results.facts["took"] = f"{time.monotonic() - began:.0f} s"
    return results


def _introduce(stage: Stage, contender: Contender) -> None:
    """Say who takes part, in which version, set up how; or why not."""
    reason = contender.absence(stage)
    if reason:
        stage.results.absent.append(f"{contender.title} does not take part: {reason}")
        stage.tell(stage.results.absent[-1])
        return
    about = About(
        name=contender.name,
        title=contender.title,
        versions=dict(contender.versions(stage)),
        settings=dict(contender.settings),
    )
    stage.enter(contender)
    stage.results.about.append(about)
    versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    stage.tell(f"{about.title}: {versions}")
    for name, value in about.settings.items():
        stage.tell(f"  {name}: {value}")


def facts(size: Size, running: Broker) -> dict[str, str]:
    """Return what a reader has to know of the machine and the run."""
    load = os.getloadavg()[0]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "size": f"{size.name}, {size.rounds} round{'s' if size.rounds != 1 else ''}",
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.machine()}, "
        f"{platform.system()} {platform.release()}",
        "load before": f"{load:.1f}; a figure taken beside other work says little",
        "Python": platform.python_version(),
        "broker": running.version() + (", a private node on this machine" if running.pids else ", as it was given"),
        "worker processes": str(size.processes),
    }


def _write(results: Results, folder: Path) -> None:
    drawn = plots.draw(results, folder)
    (folder / "results.json").write_text(results.text(), encoding="utf-8")
    (folder / "report.md").write_text(report.render(results, drawn), encoding="utf-8")
    print(f"wrote {folder / 'report.md'}, results.json and {len(drawn)} plots")


def _names(contenders: Sequence[Contender]) -> str:
    return ", ".join(each.name for each in contenders)


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _measures(text: str) -> list[str]:
    names = _list(text)
    unknown = set(names) - set(MEASURES)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: must be some of {', '.join(MEASURES)}")
    return names


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0 and at most 100")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run Warren and its peers side by side.")
    parser.add_argument("--smoke", action="store_true", help="the short run, which only shows that everything works")
    parser.add_argument("--out", type=Path, default=HOME / "bench", help="folder for report, results and plots")
    parser.add_argument("--measures", type=_measures, help=f"some of {', '.join(MEASURES)}")
    parser.add_argument("--contenders", type=_list, help="some of the contenders, by name, separated by commas")
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds, instead of the size's own")
    parser.add_argument("--scale", type=_positive, default=1.0, help="multiplies times and numbers of jobs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
