"""What the kernel's control group says of processes killed for memory."""

from __future__ import annotations

import re
from pathlib import Path

_V1_FILE = "memory.oom_control"
_V2_FILE = "memory.events"


def oom_kills(proc: Path = Path("/proc"), mounts: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how many processes of this process's control group were ever killed for memory; None where nobody counts.

    The counters are `oom_kill` of `memory.events` (version 2) or of `memory.oom_control` (version 1), see the kernel's
    Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Child processes share their worker's group.

    Args:
        proc: Where processes are shown.
        mounts: Where control groups are mounted.
    """
    for path in _candidates(proc, mounts):
        try:
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found is not None:
            return int(found[1])
    return None


def _candidates(proc: Path, mounts: Path) -> list[Path]:
    """Return where the counter may be: in a container the group's own path is often not to be seen, only its root."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    paths: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            paths += [mounts / group.lstrip("/") / _V2_FILE, mounts / _V2_FILE]
        elif "memory" in controllers.split(","):
            root = mounts / "memory"
            paths += [root / group.lstrip("/") / _V1_FILE, root / _V1_FILE]
    return paths
