"""Clients of a Warren server over HTTP: `Client` for ordinary code, `AsyncClient` for asyncio.

Both build requests and read answers with the same pure functions (`wire`), give the same values (`views`) and follow
the same rule for trying again (`patience`); they differ only in how they wait.
"""

from warren.client.asynchronous import AsyncClient
from warren.client.patience import Patience
from warren.client.request import SubmitOptions
from warren.client.schedule_views import ScheduleDefinition, ScheduleView, TickView
from warren.client.synchronous import Client
from warren.client.views import (
    AttemptView,
    DeadLetterView,
    Health,
    JobError,
    JobPage,
    JobView,
    QueueView,
    TaskView,
    TokenView,
)
from warren.request import JobRequest

__all__ = [
    "AsyncClient",
    "AttemptView",
    "Client",
    "DeadLetterView",
    "Health",
    "JobError",
    "JobPage",
    "JobRequest",
    "JobView",
    "Patience",
    "QueueView",
    "ScheduleDefinition",
    "ScheduleView",
    "SubmitOptions",
    "TaskView",
    "TickView",
    "TokenView",
]
