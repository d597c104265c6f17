"""What the worker reads of processes: their families, and the kernel's counts of those killed for memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from warren_worker.cgroups import oom_kills
from warren_worker.descendants import Process, family, kill_all, processes


def process(pid: int, parent: int, *, marked: bool = False) -> Process:
    return Process(pid=pid, parent=parent, marked=marked)


def test_a_family_is_all_that_came_of_a_process_and_all_that_carry_its_mark() -> None:
    there = [
        process(10, 1),
        process(11, 10),
        process(12, 11),
        process(20, 1),
        process(30, 1, marked=True),
        process(31, 30),
    ]

    assert family(10, there) == {10, 11, 12, 30, 31}
    assert family(None, there) == {30, 31}
    assert family(20, [process(20, 1)]) == {20}


def test_processes_are_read_with_names_that_look_like_something_else(tmp_path: Path) -> None:
    for pid, stat, environ in (
        (7, b"7 (a) S 1 (b)) S 3 7 7", b"A=1\0WARREN_CHILD=abc\0"),
        (8, b"8 (plain) S 7 8 8", b"WARREN_CHILD=abcd\0"),
        (9, b"9 (hidden) S 7 9 9", None),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_bytes(stat)
        if environ is not None:
            (tmp_path / str(pid) / "environ").write_bytes(environ)
    (tmp_path / "10").mkdir()
    (tmp_path / "meminfo").touch()

    found = sorted(processes("abc", tmp_path), key=lambda each: each.pid)

    assert found == [process(7, 3, marked=True), process(8, 7), process(9, 7)]


def test_where_processes_are_not_shown_nobody_is_killed_by_mistake(tmp_path: Path) -> None:
    kill_all(None, "abc", tmp_path / "nothing")

    assert processes("abc", tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("groups", "files", "kills"),
    [
        ("0::/a/b\n", {"a/b/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"}, 2),
        ("0::/hidden\n", {"memory.events": "oom 1\noom_kill 5\n"}, 5),
        ("9:name=systemd:/\n4:cpu,memory:/x\n", {"memory/x/memory.oom_control": "under_oom 0\noom_kill 7\n"}, 7),
        ("4:memory:/hidden\n", {"memory/memory.oom_control": "oom_kill_disable 0\noom_kill 1\n"}, 1),
        ("4:memory:/old\n", {"memory/old/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, None),
        ("7:blkio:/\n", {}, None),
        (None, {}, None),
    ],
)
def test_kills_for_memory_are_read_of_both_versions_of_control_groups(
    tmp_path: Path, groups: str | None, files: dict[str, str], kills: int | None
) -> None:
    proc, mounts = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    if groups is not None:
        (proc / "self/cgroup").write_text(groups)
    for name, content in files.items():
        (mounts / name).parent.mkdir(parents=True, exist_ok=True)
        (mounts / name).write_text(content)

    assert oom_kills(proc, mounts) == kills
