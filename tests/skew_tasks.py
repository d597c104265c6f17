"""Tasks that the last release's workers and today's both know."""

from __future__ import annotations

from warren import Context, Discard, Retry, task


@task(name="skew.work", queue="skew", retry=Retry(max_attempts=3, min_delay=0, max_delay=1))
def work(ctx: Context, script: list[str]) -> str:
    """Do what the script says of this attempt, its last word for all that follow; tell whose code ran it."""
    word = script[min(ctx.attempt, len(script)) - 1]
    if word == "fail":
        raise RuntimeError("as the script says")
    if word == "discard":
        raise Discard("as the script says")
    import warren_worker

    return str(warren_worker.__file__)
