"""The tool that builds the wheel of zeroc-ice: edits, digest, cache. The compilation itself is left to the install."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.scripts import module_of

TOOL = Path(__file__).parents[2] / "tools" / "build_ice.py"


build_ice = module_of(TOOL)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source that has exactly what the edits look for."""
    root = tmp_path / "zeroc-ice-3.6.5"
    for edit in build_ice.EDITS:
        path = root / edit.file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"before {edit.old} after\n" * edit.times)
    return root


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A compiler that writes an empty wheel; gives the wheels that it made."""
    made: list[Path] = []

    def build_into(target: Path, scratch: Path) -> None:
        assert scratch.is_dir()
        target.write_bytes(b"wheel")
        made.append(target)

    monkeypatch.setattr(build_ice, "_build_into", build_into)
    monkeypatch.setattr(build_ice, "_require_compiler", lambda: None)
    return made


# --- edits ---------------------------------------------------------------------------------------------------------


def test_every_edit_is_made(source: Path) -> None:
    """What Python 3.11 to 3.13 removed is gone, and nothing is left of what was replaced."""
    build_ice.edit_source(source)
    text = "".join(path.read_text(encoding="utf-8") for path in source.rglob("*") if path.is_file())
    for gone in ("<eval.h>", "PyThreadState_GET", "PyEval_CallObject", "PyObject_AsReadBuffer", "imp.new_module"):
        assert gone not in text
    assert text.count("PyObject_CallObject(") == 3
    assert "types.ModuleType(curr)" in text
    assert "compile_in_parallel" in text


def test_editing_twice_is_refused(source: Path) -> None:
    """The edits are for the source as it was released."""
    build_ice.edit_source(source)
    with pytest.raises(build_ice.BuildError, match="occurs 0 times, expected 1"):
        build_ice.edit_source(source)


@pytest.mark.parametrize("edit", build_ice.EDITS, ids=lambda edit: f"{edit.file} {edit.old[:20]!r}")
def test_a_text_that_occurs_more_often_than_expected_stops_the_build(source: Path, edit: object) -> None:
    """Another source needs another look."""
    assert isinstance(edit, build_ice.Edit)
    path = source / edit.file
    path.write_text(path.read_text(encoding="utf-8") + edit.old, encoding="utf-8")
    with pytest.raises(build_ice.BuildError, match=f"occurs {edit.times + 1} times, expected {edit.times}"):
        build_ice.edit_source(source, (edit,))


def test_a_refused_edit_writes_nothing(tmp_path: Path) -> None:
    """The file is as it was."""
    (tmp_path / "a.cpp").write_text("one two", encoding="utf-8")
    with pytest.raises(build_ice.BuildError):
        build_ice.edit_source(tmp_path, (build_ice.Edit("a.cpp", "three", "3"),))
    assert (tmp_path / "a.cpp").read_text(encoding="utf-8") == "one two"


# --- the source ----------------------------------------------------------------------------------------------------


def test_a_source_with_another_digest_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both digests are shown."""

    def download(*arguments: str, environment: dict[str, str] | None = None) -> None:
        assert arguments[0] == "download"
        assert environment is None
        (tmp_path / build_ice.SOURCE).write_bytes(b"something else")

    monkeypatch.setattr(build_ice, "_pip", download)
    with pytest.raises(build_ice.BuildError, match=f"expected {build_ice.SOURCE_SHA256}; nothing was unpacked"):
        build_ice._fetch_source(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [build_ice.SOURCE]


def test_a_failed_pip_shows_the_end_of_its_output() -> None:
    """The reason is there."""
    with pytest.raises(build_ice.BuildError, match=r"(?s)no such option.*pip download failed with 2"):
        build_ice._pip("download", "--nonsense")


# --- the cache -----------------------------------------------------------------------------------------------------


def test_the_wheel_is_built_once(tmp_path: Path, compiler: list[Path]) -> None:
    """The second call finds it."""
    first = build_ice.build(tmp_path)
    assert build_ice.build(tmp_path) == first
    assert compiler == [first]
    assert first.parent == tmp_path / "wheels"


def test_a_wheel_that_is_there_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without g++ may have got it from another."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / build_ice.wheel_name()).write_bytes(b"wheel")
    monkeypatch.setenv("PATH", "")
    assert build_ice.build(tmp_path).read_bytes() == b"wheel"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="builds are for Linux")
def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is downloaded."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build_ice.BuildError, match=r"g\+\+ is missing; on Debian: apt-get install"):
        build_ice.build(tmp_path)


def test_on_another_platform_it_says_where_wheels_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(build_ice.BuildError, match=r"no build for darwin: install a zeroc-ice 3\.6 wheel"):
        build_ice.build(tmp_path)


def test_a_copy_that_was_cut_never_looks_like_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a disk that is full half way, then there is no wheel, and the next call builds again."""
    built = tmp_path / "out.whl"
    built.write_bytes(b"wheel")

    def cut(_source: Path, target: Path) -> None:
        target.write_bytes(b"wh")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build_ice.shutil, "copyfile", cut)
    with pytest.raises(OSError, match="No space left"):
        build_ice._keep(built, tmp_path / "kept.whl")
    assert not (tmp_path / "kept.whl").exists()


def test_a_build_that_made_another_file_is_refused(tmp_path: Path) -> None:
    """Both names are shown."""
    (tmp_path / "other.whl").write_bytes(b"")
    with pytest.raises(build_ice.BuildError, match=r"expected mine\.whl, got \['other\.whl'\]"):
        build_ice._keep(tmp_path / "mine.whl", tmp_path / "kept.whl")


def test_the_wheel_is_named_for_this_python() -> None:
    """As pip names it."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert build_ice.wheel_name().startswith(f"zeroc_ice-3.6.5-{tag}-{tag}-")
    assert build_ice.wheel_name().endswith(f"{sysconfig.get_platform().replace('-', '_').replace('.', '_')}.whl")


@pytest.mark.parametrize(
    ("variables", "root", "expected"),
    [
        ({"FLEET_CACHE": "/somewhere"}, True, Path("/somewhere")),
        ({"FLEET_CACHE": "/somewhere"}, False, Path("/somewhere")),
        ({}, True, Path("/var/cache/omero-import-fleet")),
        ({"XDG_CACHE_HOME": "/xdg"}, False, Path("/xdg/omero-import-fleet")),
        ({"HOME": "/people/alice"}, False, Path("/people/alice/.cache/omero-import-fleet")),
    ],
)
def test_the_cache_is_where_the_user_may_write(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: Path, *, root: bool
) -> None:
    """One for everything that is built or fetched once."""
    for name in ("FLEET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(build_ice.os, "geteuid", lambda: 0 if root else 1000)
    assert build_ice.default_cache() == expected


def test_the_tool_runs_with_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """It runs before anything is installed, and prints the path of the wheel."""
    wheel = tmp_path / "wheels" / build_ice.wheel_name()
    wheel.parent.mkdir()
    wheel.write_bytes(b"wheel")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(TOOL), "--cache", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"{wheel}\n"
