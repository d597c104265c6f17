"""Warren: a background-job queue for Python teams on Kubernetes, on RabbitMQ.

Task authors need `task`, `Context`, `Retry` and `Discard`; callers need `Client` (over HTTP) or `Producer` (straight to
the broker). Names are loaded on first use, so that importing this package stays cheap.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warren.client import AsyncClient, Client
    from warren.context import Context
    from warren.errors import (
        Cancelled,
        Discard,
        InvalidArguments,
        RequestFailed,
        TimeLimitExceeded,
        WarrenError,
    )
    from warren.producer import Producer
    from warren.request import JobRequest
    from warren.retry import Retry
    from warren.task import Registry, Task, task

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "warren.client",
    "Cancelled": "warren.errors",
    "Client": "warren.client",
    "Context": "warren.context",
    "Discard": "warren.errors",
    "InvalidArguments": "warren.errors",
    "JobRequest": "warren.request",
    "Producer": "warren.producer",
    "Registry": "warren.task",
    "RequestFailed": "warren.errors",
    "Retry": "warren.retry",
    "Task": "warren.task",
    "TimeLimitExceeded": "warren.errors",
    "WarrenError": "warren.errors",
    "task": "warren.task",
}

__all__ = [
    "AsyncClient",
    "Cancelled",
    "Client",
    "Context",
    "Discard",
    "InvalidArguments",
    "JobRequest",
    "Producer",
    "Registry",
    "RequestFailed",
    "Retry",
    "Task",
    "TimeLimitExceeded",
    "WarrenError",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'warren' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """This package, where `task` is the decorator even after its module of the same name was imported.

    The import system sets every imported submodule as an attribute of its package, so that `from warren import task`
    would otherwise give the module to whoever comes second.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name == "task" and isinstance(value, ModuleType):
            value = value.task
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
