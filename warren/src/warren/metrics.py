"""The metrics vocabulary: names, help, labels and buckets, in one place, so that no two components disagree.

Names are `warren_<noun>_<unit>[_total]`. Labels are bounded: `queue`, `task` (known tasks only, all others fold into
`unknown`), `outcome`, `worker_set` (Deployments of the release) and a few fixed words.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

SECONDS_BUCKETS: Final = (
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
    1800,
    7200,
)
UNKNOWN_TASK: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric that some component exports.

    Attributes:
        name: Full name.
        kind: Prometheus type.
        help: One sentence.
        labels: Label names.
        component: `server`, `worker`, `scaler`, or `any` for all that talk to the broker.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    component: Literal["server", "worker", "scaler", "any"] = "any"


VOCABULARY: Final = (
    Metric(
        name="warren_broker_connected",
        kind="gauge",
        help="1 while publishing to the broker is possible.",
    ),
    Metric(
        name="warren_broker_blocked",
        kind="gauge",
        help="1 while the broker's alarm blocks publishes.",
    ),
    Metric(
        name="warren_broker_reconnects_total",
        kind="counter",
        help="Connections to the broker that were lost.",
    ),
    Metric(
        name="warren_publishes_total",
        kind="counter",
        help="Messages published, by result.",
        labels=("result",),
    ),
    Metric(name="warren_publish_seconds", kind="histogram", help="Time from publish to confirm."),
    Metric(
        name="warren_http_requests_total",
        kind="counter",
        help="HTTP requests answered.",
        labels=("route", "method", "status"),
        component="server",
    ),
    Metric(
        name="warren_http_request_seconds",
        kind="histogram",
        help="Time to answer an HTTP request.",
        labels=("route",),
        component="server",
    ),
    Metric(
        name="warren_jobs_submitted_total",
        kind="counter",
        help="Jobs accepted.",
        labels=("queue", "task"),
        component="server",
    ),
    Metric(
        name="warren_idempotency_keys_total",
        kind="counter",
        help="Requests with an Idempotency-Key, by what the key said: claim, answered, busy or reused.",
        labels=("result",),
        component="server",
    ),
    Metric(
        name="warren_events_projected_total",
        kind="counter",
        help="Job events stored.",
        component="server",
    ),
    Metric(
        name="warren_events_lag_seconds",
        kind="gauge",
        help="Age of the newest event stored.",
        component="server",
    ),
    Metric(
        name="warren_store_writes_total",
        kind="counter",
        help="Group commits to the store, by result.",
        labels=("result",),
        component="server",
    ),
    Metric(
        name="warren_store_commit_seconds",
        kind="histogram",
        help="Time to record the submitted jobs that waited, in one commit.",
        component="server",
    ),
    Metric(
        name="warren_unroutable_jobs",
        kind="gauge",
        help="Jobs that came due for a queue that does not exist; alert when over 0.",
        component="server",
    ),
    Metric(
        name="warren_delayed_jobs",
        kind="gauge",
        help="Jobs on the delay ladder: scheduled, or waiting for their next attempt.",
        component="server",
    ),
    Metric(
        name="warren_schedule_ticks_total",
        kind="counter",
        help="Ticks of schedules, by outcome: fired, skipped, refused.",
        labels=("outcome",),
        component="server",
    ),
    Metric(
        name="warren_schedule_lag_seconds",
        kind="gauge",
        help="How late the latest tick of a schedule fired; grows while ticks wait for the broker.",
        component="server",
    ),
    Metric(
        name="warren_attempts_total",
        kind="counter",
        help="Attempts ended, by outcome.",
        labels=("queue", "task", "outcome"),
        component="worker",
    ),
    Metric(
        name="warren_attempt_seconds",
        kind="histogram",
        help="Time an attempt ran.",
        labels=("queue", "task"),
        component="worker",
    ),
    Metric(
        name="warren_queue_wait_seconds",
        kind="histogram",
        help="Time from submit to the start of the first attempt.",
        labels=("queue", "task"),
        component="worker",
    ),
    Metric(
        name="warren_redeliveries_total",
        kind="counter",
        help="Deliveries the broker had handed out before.",
        labels=("queue",),
        component="worker",
    ),
    Metric(name="warren_jobs_running", kind="gauge", help="Attempts running now.", component="worker"),
    Metric(
        name="warren_worker_draining",
        kind="gauge",
        help="1 while the worker drains.",
        component="worker",
    ),
    Metric(
        name="warren_worker_slots",
        kind="gauge",
        help="Attempts that may run at once.",
        component="worker",
    ),
    Metric(
        name="warren_scaler_workers",
        kind="gauge",
        help="Workers of a set, by state: desired, actual, draining, limit (the most it may have).",
        labels=("worker_set", "state"),
        component="scaler",
    ),
    Metric(
        name="warren_scaler_decisions_total",
        kind="counter",
        help="Scaling decisions on a set, by reason.",
        labels=("worker_set", "reason"),
        component="scaler",
    ),
    Metric(
        name="warren_scaler_errors_total",
        kind="counter",
        help="What the scaler could not do, by part: api_server, broker, control, settings.",
        labels=("part",),
        component="scaler",
    ),
    Metric(
        name="warren_scaler_leader",
        kind="gauge",
        help="1 on the scaler that leads, 0 on those that stand by.",
        component="scaler",
    ),
)

_BY_NAME: Final = {metric.name: metric for metric in VOCABULARY}
_made: dict[tuple[int, str], MetricWrapperBase] = {}


def counter(name: str, registry: CollectorRegistry = REGISTRY) -> Counter:
    """Return the counter of that name, made on first use."""
    made = _metric(name, Counter, registry)
    assert isinstance(made, Counter)  # noqa: S101 - narrows the type for the checker
    return made


def gauge(
    name: str,
    registry: CollectorRegistry = REGISTRY,
    mode: Literal["livesum", "livemax", "livemostrecent"] = "livesum",
) -> Gauge:
    """Return the gauge of that name, made on first use.

    Args:
        name: Its full name.
        registry: Where it is registered.
        mode: How the values of several processes become one; processes that ended do not count.
    """
    key = (id(registry), name)
    if key not in _made:
        metric = _BY_NAME[name]
        _made[key] = Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode=mode)
    made = _made[key]
    assert isinstance(made, Gauge)  # noqa: S101
    return made


def histogram(name: str, registry: CollectorRegistry = REGISTRY) -> Histogram:
    """Return the histogram of that name, made on first use."""
    made = _metric(name, Histogram, registry)
    assert isinstance(made, Histogram)  # noqa: S101
    return made


def task_label(name: str, known: Container[str]) -> str:
    """Return a task's name as a label, or `unknown` when it is not one of ours: labels stay bounded."""
    return name if name in known else UNKNOWN_TASK


def _metric(name: str, kind: type[Counter] | type[Histogram], registry: CollectorRegistry) -> MetricWrapperBase:
    key = (id(registry), name)
    if key not in _made:
        metric = _BY_NAME[name]
        if kind is Histogram:
            _made[key] = Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=SECONDS_BUCKETS)
        else:
            _made[key] = Counter(metric.name, metric.help, metric.labels, registry=registry)
    return _made[key]
