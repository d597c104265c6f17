"""Programs for the manifests' tests: what is on PATH is used, what was built is used while its pins are the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import gotools


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty .tools."""
    monkeypatch.setattr(gotools, "TOOLS", tmp_path / ".tools")
    monkeypatch.setattr(gotools, "CRDS", tmp_path / ".tools" / "crds")
    return tmp_path / ".tools"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(file: Path, says: str, status: int = 0) -> Path:
    """Make a program that says something."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_a_helm_on_path_counts_for_its_major_only(tools: Path, path: Path) -> None:
    helm = program(path / "helm", "v3.22.0")

    assert gotools.find("helm3") == (str(helm),)
    assert gotools.find("helm4") is None


def test_a_program_by_the_name_of_its_major_comes_first(tools: Path, path: Path) -> None:
    program(path / "helm", "v4.1.0")
    four = program(path / "helm4", "v4.3.1")

    assert gotools.find("helm4") == (str(four),)


def test_a_program_of_another_version_or_that_fails_is_passed_over(tools: Path, path: Path) -> None:
    program(path / "kustomize", "v4.5.7")
    program(path / "helm", "v3.22.0", status=1)

    assert gotools.find("kustomize") is None
    assert gotools.find("helm3") is None


def test_a_built_program_is_used_until_its_pins_change(
    tools: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = program(tools / "bin" / "kustomize", "v5.8.2")
    assert gotools.find("kustomize") is None
    built.with_suffix(".stamp").write_text(gotools.pins(), encoding="utf-8")

    assert gotools.find("kustomize") == (str(built),)
    monkeypatch.setattr(gotools, "pins", lambda _module: "others")
    assert gotools.find("kustomize") is None


@pytest.mark.parametrize(
    ("says", "counts"),
    [
        ("promtool, version 2.42.0+ds (branch: debian/sid, revision: 2.42.0+ds-5)", True),
        ("promtool, version 3.15.0 (branch: HEAD, revision: abc)", True),
        ("promtool, version v0.315.0 (branch: , revision: unknown)", True),
        ("promtool, version 2.24.1 (branch: HEAD, revision: abc)", False),
    ],
)
def test_a_promtool_counts_if_it_is_not_too_old(tools: Path, path: Path, says: str, counts: bool) -> None:
    promtool = program(path / "promtool", says)

    assert gotools.find("promtool") == ((str(promtool),) if counts else None)


def test_a_program_of_another_module_has_pins_of_its_own(tools: Path, path: Path) -> None:
    built = program(tools / "bin" / "promtool", "promtool, version v0.315.0")
    built.with_suffix(".stamp").write_text(gotools.pins(), encoding="utf-8")
    assert gotools.find("promtool") is None

    built.with_suffix(".stamp").write_text(gotools.pins("promtool"), encoding="utf-8")

    assert gotools.find("promtool") == (str(built),)


def test_a_program_is_built_in_the_folder_of_its_module_without_what_its_tags_leave_out(
    tools: Path, path: Path
) -> None:
    [promtool] = [tool for tool in gotools.INVENTORY if tool.name == "promtool"]
    told = tools.parent / "told"
    go = program(path / "go", "")
    # It writes where it was called and with what; what it builds tells its version.
    go.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = version ]; then echo go version go1.99; exit; fi\n'
        'if [ "$1" = list ]; then echo v0.315.0; exit; fi\n'
        f'echo "$PWD $*" >> {told}\n'
        'while [ "$1" != -o ]; do shift; done\n'
        'printf "#!/bin/sh\\necho promtool, version v0.315.0" > "$2"\n'
        f'{shutil.which("chmod", path="/usr/bin:/bin")} 755 "$2"\n',
        encoding="utf-8",
    )

    command = gotools.build(promtool)

    assert gotools.find("promtool") == command
    [line] = told.read_text(encoding="utf-8").splitlines()
    assert line.startswith(f"{gotools.HERE / 'promtool'} build ")
    assert "-tags remove_all_sd " in line
    assert line.endswith(promtool.package)


def test_a_missing_program_is_told_with_what_brings_it(tools: Path, path: Path) -> None:
    with pytest.raises(gotools.ToolError, match=r"helm4 is neither on PATH nor in \.tools/bin: run make tools"):
        gotools.command("helm4")


@pytest.mark.parametrize(
    ("said", "enough"),
    [
        ("go version go1.26.0 linux/amd64", True),
        ("go version go1.27rc1 linux/amd64", True),
        ("go version go2.0 linux/amd64", True),
        ("go version go1.25.9 linux/amd64", False),
        ("go version devel", False),
        ("", False),
    ],
)
def test_an_old_go_is_not_enough(said: str, enough: bool) -> None:
    assert gotools.new_enough(said, (1, 26)) is enough


def test_the_go_of_the_machine_is_used_if_it_is_new_enough(tools: Path, path: Path) -> None:
    go = program(path / "go", "go version go1.99.0 linux/amd64")

    assert gotools.find_go() == (str(go),)


def test_a_packaged_go_takes_the_place_of_an_old_one(tools: Path, path: Path) -> None:
    program(path / "go", "go version go1.20.0 linux/amd64")
    packaged = program(tools / "go" / "go" / "bin" / "go", "go version go1.26.6 linux/amd64")

    assert gotools.find_go() == (str(packaged),)


def test_a_module_of_another_content_is_refused(tools: Path, path: Path) -> None:
    go = program(path / "go", '{"Sum": "h1:other=", "Dir": "/nowhere"}')
    gotools.CRDS.mkdir(parents=True)

    with pytest.raises(gotools.ToolError, match=r"x\.example v1 has the hash h1:other=, .* pins h1:ours="):
        gotools.download([str(go)], "x.example", "v1", "h1:ours=")


def test_a_command_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    failing = program(tmp_path / "go", "no such module", status=3)

    with pytest.raises(gotools.ToolError, match=r"(?s)ended with status 3 and said:.*no such module"):
        gotools.run([str(failing)], folder=tmp_path)


def test_crds_are_taken_anew_when_the_pins_change(
    tools: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "tools"
    (here / "module" / "crds").mkdir(parents=True)
    shutil.copy(gotools.HERE / "go.mod", here)
    monkeypatch.setattr(gotools, "HERE", here)
    (here / "module" / "crds" / "a.yaml").write_text("kind: CustomResourceDefinition\n", encoding="utf-8")
    said = f'{{"Sum": "h1:ours=", "Dir": "{here / "module"}"}}'
    # One that tells its version and, asked for a module, where it is.
    go = program(path / "go", "")
    go.write_text(f"#!/bin/sh\nif [ $1 = version ]; then echo go1.99; else echo '{said}'; fi\n", encoding="utf-8")
    pins = '[[module]]\npath = "x.example"\nversion = "v1"\nsum = "h1:ours="\nfiles = ["{}"]\n'
    (here / "crds.toml").write_text(pins.format("crds/*.yaml"), encoding="utf-8")

    gotools.extract_crds()

    assert [file.name for file in gotools.CRDS.glob("*.yaml")] == ["a.yaml"]
    go.unlink()
    # Nothing to do: no Go is needed.
    gotools.extract_crds()
    program(go, "").write_text(
        f"#!/bin/sh\nif [ $1 = version ]; then echo go1.99; else echo '{said}'; fi\n", encoding="utf-8"
    )
    (here / "crds.toml").write_text(pins.format("crds/*.yml"), encoding="utf-8")
    with pytest.raises(gotools.ToolError, match=r"x\.example v1 has no file crds/\*\.yml: mend tools/crds\.toml"):
        gotools.extract_crds()
