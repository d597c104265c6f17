"""What is in the images, and what is not."""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from containers import PROGRAMS, ROOT, Images, docker, inspect, run_docker

BASE = "python:3.13-slim"
MOST_BYTES = {"server": 120e6, "worker": 120e6, "scaler": 120e6}
DISTRIBUTIONS = """
import importlib.metadata, json
print(json.dumps({found.name: found.version for found in importlib.metadata.distributions()}))
"""
TOOLS = ("pip", "pip[0-9.]*", "ensurepip", "uv", "uvx", "cc", "c++", "gcc*", "*-gcc", "g++*", "clang*", "cargo", "go")

pytestmark = pytest.mark.timeout(900)


def python(image: str, code: str) -> str:
    """Run Python code in the image."""
    return docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c", code)


def closure(member: str) -> set[str]:
    """Return what the member needs on the images' Python, by the metadata of what is installed here."""
    target = {"python_version": "3.13", "python_full_version": "3.13.0", "extra": ""}
    needed: set[tuple[str, str]] = set()
    left = [(canonicalize_name(member), "")]
    while left:
        name, extra = left.pop()
        if (name, extra) in needed:
            continue
        needed.add((name, extra))
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({**target, "extra": extra}):
                wanted = canonicalize_name(requirement.name)
                left += [(wanted, one) for one in ("", *requirement.extras)]
    return {name for name, _ in needed}


@pytest.fixture(scope="module")
def base(images: Images) -> str:
    """The images' base, fetched if the build has not left it with the engine."""
    if run_docker("image", "inspect", BASE).returncode:
        docker("pull", BASE, timeout_seconds=600)
    return BASE


def test_the_images_are_small(images: Images, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    below = inspect(base)["Size"]

    sizes = {program: inspect(images[program])["Size"] - below for program in PROGRAMS}

    with capsys.disabled():
        print("\nover their base:", *(f"{program} {size / 1e6:.0f} MB" for program, size in sizes.items()))
    assert {program: size for program, size in sizes.items() if size > MOST_BYTES[program]} == {}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_holds_its_members_closure_as_locked_and_nothing_else(images: Images, program: str) -> None:
    lock = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    members = dict.fromkeys(("warren", "warren-server", "warren-worker", "warren-scaler"), images.tag)

    installed = {
        canonicalize_name(name): version for name, version in json.loads(python(images[program], DISTRIBUTIONS)).items()
    }

    assert set(installed) == closure(f"warren-{program}")
    assert installed.items() <= (lock | members).items()


@pytest.mark.parametrize(
    ("program", "absent"),
    [
        (
            "worker",
            ["flask", "sqlalchemy", "alembic", "psycopg", "kubernetes", "warren_server", "warren_scaler", "pytest"],
        ),
        ("server", ["kubernetes", "warren_worker", "warren_scaler", "pytest", "mkdocs"]),
        ("scaler", ["flask", "sqlalchemy", "alembic", "psycopg", "warren_server", "warren_worker", "pytest"]),
    ],
)
def test_an_image_cannot_import_what_is_of_others(images: Images, program: str, absent: list[str]) -> None:
    code = f"import importlib.util as u; print(*(name for name in {absent!r} if u.find_spec(name)))"

    assert python(images[program], code) == ""


def tools(image: str) -> list[str]:
    """Return the files and folders of an image that are named like a compiler or an installer."""
    names = [part for tool in TOOLS for part in ("-o", "-name", tool)][1:]
    find = ["/", "-xdev", "(", *names, ")", "-not", "-path", "/usr/share/*", "-not", "-path", "/var/lib/*"]
    return docker("run", "--rm", "--user", "0", "--entrypoint", "find", image, *find).splitlines()


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_has_neither_compiler_nor_installer(images: Images, program: str) -> None:
    assert tools(images[program]) == []


def test_the_search_for_tools_would_find_them(base: str) -> None:
    assert "/usr/local/bin/pip" in tools(base)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_runs_as_a_user_without_rights(images: Images, program: str) -> None:
    config = inspect(images[program])["Config"]

    assert config["User"] == "10001:10001"
    assert (
        python(images[program], "import os; print(os.getuid(), os.getgid(), os.getgroups())") == "10001 10001 [10001]"
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_says_what_it_is(images: Images, program: str) -> None:
    labels = inspect(images[program])["Config"]["Labels"]

    named = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert named["title"] == f"warren-{program}"
    assert named["version"] == images.tag == metadata.version("warren")
    assert named["revision"] == images.revision
    assert named["licenses"] == "Apache-2.0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", named["created"])
    assert program in named["description"] or program == "server"


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_image_starts_its_program_without_a_shell(images: Images, program: str) -> None:
    config = inspect(images[program])["Config"]

    assert config["Entrypoint"] == ["python", "-m", f"warren_{program}"]
    assert not config["Cmd"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_command_line_is_in_every_image(images: Images, program: str) -> None:
    said = docker("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--entrypoint", "warren", images[program], "version")

    assert images.tag in said


@pytest.mark.parametrize(("program", "command"), [("worker", "server"), ("server", "worker"), ("scaler", "worker")])
def test_the_command_line_says_which_program_is_not_here(images: Images, program: str, command: str) -> None:
    done = run_docker("run", "--rm", "--entrypoint", "warren", images[program], command)

    assert done.returncode == 1
    assert f"warren-{command} is not installed here" in done.stderr


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        ("server", 2, "there is no token"),
        ("worker", 2, "name the modules that declare your tasks in WARREN_TASKS"),
        ("scaler", 2, "usage: python -m warren_scaler"),
    ],
)
def test_a_program_without_settings_says_what_is_missing(images: Images, program: str, status: int, said: str) -> None:
    done = run_docker("run", "--rm", images[program])

    assert done.returncode == status
    assert said in done.stderr


@pytest.mark.parametrize(
    ("line", "changed", "said"),
    [
        (
            r"^(httpx==.+\n    --hash=sha256:)\w{8}(.*\n    --hash=sha256:)\w{8}",
            r"\g<1>00000000\g<2>00000000",
            "Hash mismatch",
        ),
        (r"^structlog==.+\n(?:    .+\n)+", "", "no trusted hash was provided for: `structlog`"),
    ],
    ids=["other-hash", "not-pinned"],
)
def test_a_package_that_is_not_as_locked_is_refused(
    images: Images, tmp_path: Path, line: str, changed: str, said: str
) -> None:
    for name in (".dockerignore", "Dockerfile", "pyproject.toml", "warren", "server", "worker", "scaler", "tools"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    lock, count = re.subn(line, changed, (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    assert count == 1
    (tmp_path / "requirements.lock").write_text(lock)

    done = run_docker("build", *images.flags, "--target", "worker", tmp_path, timeout_seconds=600)

    assert done.returncode != 0
    assert said in done.stderr
