"""Tasks of the chart's own tests; `tests.checkTask: false` takes them away."""

import time

from warren import task


@task(name="helm_test.echo", queue="QUEUE", timeout=30)
def echo(text: str) -> str:
    """Return the text."""
    return text


@task(name="helm_test.rest", queue="QUEUE", timeout=60)
def rest(seconds: float) -> float:
    """Take that long."""
    time.sleep(seconds)
    return seconds
