"""The example tasks."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from warren import Context, Discard, Retry, task

WORD = re.compile(r"[^\W\d_]+")
QUICK = Retry(max_attempts=5, min_delay=1, max_delay=2)


@task(name="text.wordcount", timeout=60)
def wordcount(ctx: Context, path: str, top: int = 5) -> dict[str, Any]:
    """Count the lines, words and characters of a text file, and find its most frequent words."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise Discard(f"there is no file {path}") from error
    words = Counter(word.lower() for word in WORD.findall(text))
    ctx.progress(1.0, "counted")
    return {
        "path": path,
        "lines": text.count("\n"),
        "words": sum(words.values()),
        "characters": len(text),
        "top": words.most_common(top),
    }


@task(name="image.thumbnail", queue="media", timeout=60)
def thumbnail(ctx: Context, path: str, output: str, width: int = 128) -> dict[str, Any]:
    """Scale a picture down to a width and write it as PNG."""
    # Here, not at the top: a server that only checks arguments needs no Pillow.
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.thumbnail((width, width * 4))
            ctx.progress(0.5, "scaled")
            # Written beside and renamed: a job that runs twice never shows half a picture.
            unfinished = Path(f"{output}.{ctx.job_id}.part")
            picture.convert("RGBA").save(unfinished, "PNG")
    except FileNotFoundError as error:
        raise Discard(f"there is no file {path}") from error
    unfinished.replace(output)
    return {"output": output, "size": list(picture.size), "bytes": Path(output).stat().st_size}


@task(name="greet", timeout=10)
def greet(cmd: str) -> str:
    """Answer a greeting."""
    match cmd:
        case "hey":
            return "hey there"
        case "hello":
            return "hello, world"
        case _:
            return f"I do not know what to say to {cmd!r}"


@task(name="flaky", timeout=10, retry=QUICK)
def flaky(ctx: Context) -> str:
    """Fail twice, then succeed, as a service does that is just restarting."""
    if ctx.attempt <= 2:
        raise ConnectionError(f"attempt {ctx.attempt} found nobody at home")
    return f"attempt {ctx.attempt} did it"


@task(name="doomed", timeout=10, retry=Retry(max_attempts=3, min_delay=0, max_delay=1))
def doomed(ctx: Context) -> None:
    """Fail always, and end as a dead letter."""
    raise RuntimeError(f"attempt {ctx.attempt} failed as the others")
