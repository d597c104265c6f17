"""What a page says after a form did what it was for. An address names one of these; it cannot bring its own words."""

from __future__ import annotations

from typing import Final

NOTICES: Final = {
    "paused": "The queue is paused. Jobs that run go on; submits are taken.",
    "resumed": "The queue is worked on again.",
    "purged": "The order to cancel all waiting jobs is out. Workers record each as they meet it.",
    "cancelled": "The cancel is asked for. The job's state changes when a worker says so.",
    "retried": "The job is back in its queue.",
    "submitted": "The job is taken.",
    "deferred": "The job is taken. The store does not know it yet; it will when the job's events come in.",
    "redriving": "The redrive has begun.",
    "stopped": "The redrive is told to stop. What it moved stays moved.",
    "schedule-paused": "The schedule rests.",
    "schedule-resumed": "The schedule goes on.",
    "draining": "The worker is told to drain: it finishes what runs and takes no more.",
    "undraining": "The worker is told to take work again.",
    "signed-out": "You are signed out.",
}
