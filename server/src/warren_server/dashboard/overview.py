"""The front page: how much is done, what waits, who works, and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from flask import Response

from warren_server.api import dead_letters as letters_api
from warren_server.api.queues import all_queues
from warren_server.dashboard import history
from warren_server.dashboard.charts import Chart, chart
from warren_server.dashboard.rates import MINUTES, Minutes, Rates
from warren_server.dashboard.reading import if_there
from warren_server.dashboard.site import Site
from warren_server.store.dead_letters import DeadLetterFilter
from warren_server.store.rates import RateStore

_DEEPEST = 10
_GROUPS = 5
_SPAN = f"the last {MINUTES} minutes"


def add(site: Site) -> None:
    """Add the page."""
    parts = site.parts
    rates = Rates(RateStore(parts.database))

    @site.page("/")
    def overview() -> Response:
        counts = if_there(site.counts.get)
        listed = all_queues(parts.queues, counts, if_there(parts.queue_settings.all))
        minutes = if_there(rates.minutes)
        dead = if_there(lambda: letters_api.summary(parts.letters, DeadLetterFilter(), _GROUPS))
        return site.render(
            "overview.html",
            totals={name: _total(listed, name) for name in ("ready", "unacked", "consumers")},
            states=None if counts is None else _by_state(counts),
            minutes=minutes,
            charts=_charts(minutes, parts.history.total()),
            queues=sorted(listed, key=_depth, reverse=True)[:_DEEPEST],
            queues_total=len(listed),
            dead=dead,
        )


def _charts(minutes: Minutes | None, samples: Any) -> dict[str, Chart | None]:
    told = {name: [getattr(sample, name) for sample in samples] for name in ("ready", "workers")}
    return {
        "ended": None if minutes is None else chart([("ended a minute", minutes.ended)], _SPAN),
        "died": None if minutes is None else chart([("dead letters a minute", minutes.died)], _SPAN),
        "ready": chart([("waiting", told["ready"])], history.SPAN),
        "workers": chart([("consumers", told["workers"])], history.SPAN),
    }


def _total(listed: list[dict[str, Any]], name: str) -> int | None:
    told = [queue[name] for queue in listed if queue[name] is not None]
    return sum(told) if told else None


def _by_state(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for states in counts.values():
        total.update(states)
    return dict(total)


def _depth(queue: dict[str, Any]) -> int:
    return (queue["ready"] or 0) + (queue["unacked"] or 0)
