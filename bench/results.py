"""Everything a run came to, and its form in `results.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.figures import Spread
from bench.goals import GOALS, Score, judge
from bench.readings import Key, Quantity, Reading, summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Who took part, as printed.

    Attributes:
        name: The contender's name.
        title: Its name for people.
        versions: Versions of what it is made of.
        settings: How it is set up, and what follows from that.
    """

    name: str
    title: str
    versions: Mapping[str, str]
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A curve.

    Attributes:
        id: Its name, dotted, the measure first.
        title: Its name for people.
        contender: Whose it is.
        unit: Unit of its values.
        points: Pairs of place and value.
    """

    id: str
    title: str
    contender: str
    unit: str
    points: tuple[tuple[float, float], ...]


@dataclass(slots=True, kw_only=True)
class Results:
    """What a run came to.

    Attributes:
        facts: The machine, the broker and the run.
        about: Who took part.
        quantities: What was measured, in the order of the report.
        readings: All values.
        series: All curves.
        absent: Who could not take part, and why.
        failures: What went wrong.
    """

    facts: dict[str, str] = field(default_factory=dict)
    about: list[About] = field(default_factory=list)
    quantities: list[Quantity] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def summaries(self) -> dict[Key, Spread]:
        """Median and extremes of everything."""
        return summarize(self.readings)

    def scores(self) -> list[Score]:
        """Return how far each goal was reached."""
        better = {quantity.id: quantity.better for quantity in self.quantities}
        return judge(GOALS, self.summaries, better)

    def document(self) -> dict[str, Any]:
        """Return all of it as a JSON document."""
        return {
            "facts": self.facts,
            "contenders": [asdict(one) for one in self.about],
            "absent": self.absent,
            "failures": self.failures,
            "quantities": [asdict(one) for one in self.quantities],
            "goals": [_score_document(score) for score in self.scores()],
            "summaries": [
                {"quantity": quantity, "contender": contender, **asdict(found)}
                for (quantity, contender), found in self.summaries.items()
            ],
            "readings": [asdict(one) for one in self.readings],
            "series": [asdict(one) for one in self.series],
        }

    def text(self) -> str:
        """Return the text of `results.json`."""
        return json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n"


def read(text: str) -> Results:
    """Read `results.json`."""
    document = json.loads(text)
    return Results(
        facts=document["facts"],
        about=[About(**one) for one in document["contenders"]],
        quantities=[Quantity(**one) for one in document["quantities"]],
        readings=[Reading(**one) for one in document["readings"]],
        series=[
            Series(**{**one, "points": tuple((float(x), float(y)) for x, y in one["points"])})
            for one in document["series"]
        ],
        absent=document["absent"],
        failures=document["failures"],
    )


def _score_document(score: Score) -> dict[str, Any]:
    return {
        "what": score.goal.what,
        "goal": score.goal.text,
        "reached": score.reached,
        "ratio": score.ratio,
        "met": score.met,
        "lacking": _names(score.lacking),
    }


def _names(keys: Sequence[Key]) -> list[str]:
    return [f"{quantity} of {contender}" for quantity, contender in keys]
