"""Clients of a Warren server over HTTP: `Client` for ordinary code, `AsyncClient` for asyncio.

Both build requests and read answers with the same pure functions (`wire`), give the same values (`views`) and follow
the same rule for trying again (`patience`); they differ only in how they wait.
"""

from warren.client.asynchronous import AsyncClient
from warren.client.dead_letters import (
    Affected,
    CancelView,
    DeadLetterFilter,
    DeadLetterGroup,
    DeadLetterPage,
    DeadLetterSummary,
    RedriveView,
    RetryOptions,
)
from warren.client.patience import Patience
from warren.client.request import SubmitOptions
from warren.client.scaling_views import ScalingOptions, ScalingView
from warren.client.schedule_views import ScheduleDefinition, ScheduleView, TickView
from warren.client.synchronous import Client
from warren.client.views import (
    AttemptView,
    DeadLetterView,
    Health,
    JobError,
    JobPage,
    JobView,
    PurgeView,
    QueueLimits,
    QueueView,
    TaskView,
    TokensView,
    TokenView,
)
from warren.request import JobRequest

__all__ = [
    "Affected",
    "AsyncClient",
    "AttemptView",
    "CancelView",
    "Client",
    "DeadLetterFilter",
    "DeadLetterGroup",
    "DeadLetterPage",
    "DeadLetterSummary",
    "DeadLetterView",
    "Health",
    "JobError",
    "JobPage",
    "JobRequest",
    "JobView",
    "Patience",
    "PurgeView",
    "QueueLimits",
    "QueueView",
    "RedriveView",
    "RetryOptions",
    "ScalingOptions",
    "ScalingView",
    "ScheduleDefinition",
    "ScheduleView",
    "SubmitOptions",
    "TaskView",
    "TickView",
    "TokenView",
    "TokensView",
]
