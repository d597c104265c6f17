"""What the tasks of every contender do. Standard library only, but for the picture."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.recorder import recorder

SLEEP_SECONDS: Final = 0.001
CPU_NS: Final = 5_000_000
_WORD: Final = re.compile(r"[^\W\d_]+")


def noop(payload: str = "") -> None:  # noqa: ARG001 - the payload only travels
    """Do nothing."""
    recorder().note()


def sleep(payload: str = "") -> None:  # noqa: ARG001
    """Wait for a millisecond, as for an answer of somebody else."""
    time.sleep(SLEEP_SECONDS)
    recorder().note()


def cpu(payload: str = "") -> None:  # noqa: ARG001
    """Compute for 5 ms of this thread's processor time, the same on every machine."""
    began = time.thread_time_ns()
    end = began + CPU_NS
    while time.thread_time_ns() < end:
        for _ in range(500):
            pass
    recorder().note(cpu_ns=time.thread_time_ns() - began)


def stamp(at_ns: int) -> None:
    """Note how long after its due time the job began.

    Args:
        at_ns: When it was due to be submitted, on the monotonic clock.
    """
    recorder().note(latency_ns=time.monotonic_ns() - at_ns)


# The example tasks of `examples/warren_examples`, for contenders that cannot load those.


def wordcount(path: str, top: int = 5) -> dict[str, Any]:
    """Count the lines, words and characters of a text file, and find its most frequent words."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    words = Counter(word.lower() for word in _WORD.findall(text))
    return {"path": path, "lines": text.count("\n"), "words": sum(words.values()), "top": words.most_common(top)}


def thumbnail(path: str, output: str, width: int = 128) -> dict[str, Any]:
    """Scale a picture down to a width and write it as PNG."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.thumbnail((width, width * 4))
        picture.convert("RGBA").save(output, "PNG")
    return {"output": output, "size": list(picture.size)}


def greet(cmd: str) -> str:
    """Answer a greeting."""
    return {"hey": "hey there", "hello": "hello, world"}.get(cmd, f"I do not know what to say to {cmd!r}")


def flaky() -> str:
    """Fail."""
    raise ConnectionError("found nobody at home")


def doomed() -> None:
    """Fail always."""
    raise RuntimeError("failed as the others")


TASKS: Final[dict[str, Callable[..., None]]] = {"noop": noop, "sleep": sleep, "cpu": cpu, "stamp": stamp}
"""What is measured, by name."""
EXAMPLES: Final[dict[str, Callable[..., Any]]] = {
    "text.wordcount": wordcount,
    "image.thumbnail": thumbnail,
    "greet": greet,
    "flaky": flaky,
    "doomed": doomed,
}
"""What is only loaded, by name."""
