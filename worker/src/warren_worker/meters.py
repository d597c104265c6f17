"""What the worker counts; names, labels and buckets come from `warren.metrics`."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry

from warren.metrics import counter, gauge, histogram, task_label
from warren.task import Registry
from warren_worker.job import Run


class Meters:
    """The worker's metrics.

    Args:
        tasks: Known tasks; others share the label `unknown`.
        registry: Where the metrics live.
    """

    def __init__(self, tasks: Registry, registry: CollectorRegistry = REGISTRY) -> None:
        self._tasks = tasks
        self._attempts = counter("warren_attempts_total", registry)
        self._seconds = histogram("warren_attempt_seconds", registry)
        self._wait = histogram("warren_queue_wait_seconds", registry)
        self._redeliveries = counter("warren_redeliveries_total", registry)
        self.running = gauge("warren_jobs_running", registry)
        self.draining = gauge("warren_worker_draining", registry)
        self.slots = gauge("warren_worker_slots", registry)

    def redelivered(self, queue: str) -> None:
        """Count a delivery that was handed out before."""
        self._redeliveries.labels(queue).inc()

    def started(self, run: Run) -> None:
        """Count the wait of a job that starts for the first time."""
        envelope = run.job.envelope
        if run.job.attempt == 1:
            wait_seconds = max(run.started_ms - envelope.enqueued_ms, 0) / 1000
            self._wait.labels(run.delivery.queue, run.job.task.name).observe(wait_seconds)

    def ended(self, queue: str, task: str, outcome: str, seconds: float | None = None) -> None:
        """Count a settled delivery, and how long its attempt ran, if it did."""
        label = task_label(task, self._tasks)
        self._attempts.labels(queue, label, outcome).inc()
        if seconds is not None:
            self._seconds.labels(queue, label).observe(max(seconds, 0))
