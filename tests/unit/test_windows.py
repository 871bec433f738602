r"""Acquisition hosts with Windows: what only POSIX has is missing, paths have drive letters and servers."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any, Final

import pytest

from fleet_common.storage import Share
from fleet_common.storage.shares import longest_root, without_device
from fleet_producer.roots import kind_of, look
from fleet_producer.spoolfolder import default_folder
from fleet_producer.watch.finding import Candidate
from fleet_producer.watch.holding import ASK, kernel, open_alone
from fleet_producer.watch.looking import Glass, Observer
from fleet_producer.watch.tree import pattern_of
from fleet_stack.plates import PlateSpec, make_plate

PROGRAM = Path(__file__).parents[1] / "support/bare_host.py"


def share(name: str) -> Share:
    return Share(name, Path(name))


LETTER, SERVER, INNER = share("letter"), share("server"), share("inner")
ROOTS: dict[Share, PurePath] = {
    LETTER: PureWindowsPath("D:\\Data"),
    SERVER: PureWindowsPath("\\\\nas\\hcs"),
    INNER: PureWindowsPath("\\\\nas\\hcs\\Phenix1"),
}


def test_a_producer_runs_without_what_only_posix_has(tmp_path: Path) -> None:
    """Given a host without fcntl, pwd and folders that can be opened, then all is imported and a plate published."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(PROGRAM.parents[1]), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("D:\\Data\\P1\\Images", LETTER),
        ("d:\\data\\P1", LETTER),
        ("D:/Data/P1", LETTER),
        ("\\\\?\\D:\\Data\\P1", LETTER),
        ("\\\\NAS\\HCS\\other\\P1", SERVER),
        ("\\\\nas\\hcs\\phenix1\\P1", INNER),
        ("\\\\?\\UNC\\nas\\hcs\\other\\P1", SERVER),
        ("E:\\Data\\P1", None),
        ("D:\\Database\\P1", None),
        ("\\\\nas2\\hcs\\P1", None),
    ],
)
def test_a_path_lies_in_the_share_with_the_longest_root(path: str, expected: Share | None) -> None:
    """In any letter case, with / or \\, and with the mark of long paths in front."""
    assert longest_root(PureWindowsPath(path), ROOTS) is expected


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        (PureWindowsPath("\\\\?\\D:\\Data\\P1"), PureWindowsPath("D:\\Data\\P1")),
        (PureWindowsPath("\\\\?\\UNC\\nas\\hcs\\P1"), PureWindowsPath("\\\\nas\\hcs\\P1")),
        (PureWindowsPath("D:\\Data"), PureWindowsPath("D:\\Data")),
        (PurePosixPath("/data/P1"), PurePosixPath("/data/P1")),
    ],
)
def test_the_mark_of_long_paths_is_taken_off(path: PurePath, plain: PurePath) -> None:
    assert without_device(path) == plain


def test_what_is_in_a_request_has_no_trace_of_windows() -> None:
    path, root = PureWindowsPath("d:\\data\\Größe 1\\Images\\Index.idx.xml"), ROOTS[LETTER]
    assert path.relative_to(root).as_posix() == "Größe 1/Images/Index.idx.xml"


@pytest.mark.parametrize(
    ("path", "kind", "word"),
    [
        (PureWindowsPath("D:\\Data"), "drive letter", "login session"),
        (PureWindowsPath("\\\\?\\D:\\Data"), "drive letter", "login session"),
        (PureWindowsPath("\\\\nas\\hcs"), "UNC name", ""),
        (PureWindowsPath("\\\\?\\UNC\\nas\\hcs"), "UNC name", ""),
        (PureWindowsPath("Data"), "relative", "whole path"),
        (PurePosixPath("/data"), "folder", ""),
        (PurePosixPath("data"), "relative", "whole path"),
    ],
)
def test_a_root_is_known_for_what_it_is(path: PurePath, kind: str, word: str) -> None:
    """A drive letter is not there for a service: that is the first thing to know when nothing is found."""
    found, remark = kind_of(path)
    assert found == kind
    assert word in remark
    assert bool(remark) == bool(word)


def test_a_root_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "P1").mkdir()
    ticks = iter([1.0, 3.5])
    found = look("hcs", tmp_path, lambda: next(ticks))
    assert (found.kind, found.problem, found.entries, found.seconds) == ("folder", "", 1, 2.5)
    assert found.free_bytes > 0


@pytest.mark.parametrize(
    ("name", "word"), [("empty", "empty"), ("gone", "cannot be listed"), ("file", "cannot be listed")]
)
def test_a_root_that_cannot_be_used_says_why(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert word in look("hcs", tmp_path / name).problem


def test_spool_and_state_are_with_the_data_of_the_user() -> None:
    folder = default_folder("mq", "/", {"LOCALAPPDATA": "/users/phenix/AppData/Local"}, windows=True)
    assert folder.as_posix() == "/users/phenix/AppData/Local/omero-fleet/spool/%2F@mq"


class Kernel:
    """kernel32, which refuses to share a file that an instrument has open."""

    def __init__(self, handle: int, error: int = 0) -> None:
        self.handle, self.error = handle, error
        self.calls: list[Any] = []
        self.closed: list[int] = []

    def CreateFileW(self, *arguments: Any) -> int:  # noqa: N802  the name is that of Windows
        self.calls.append(arguments)
        return self.handle

    def CloseHandle(self, handle: int) -> None:  # noqa: N802  as above
        self.closed.append(handle)

    def last_error(self) -> int:
        return self.error


INVALID: Final = ctypes.c_void_p(-1).value or 0
"""What CreateFileW answers when it fails, on any width of pointers."""


class TestHolding:
    """Whether the instrument still has a file open."""

    def test_a_file_that_somebody_has_open_is_held(self) -> None:
        refusing = Kernel(INVALID, error=32)
        assert open_alone("C:\\x", refusing, refusing.last_error)

    @pytest.mark.parametrize("error", [2, 3, 5])
    def test_other_errors_are_for_others_to_tell(self, error: int) -> None:
        refusing = Kernel(INVALID, error=error)
        assert not open_alone("C:\\x", refusing, refusing.last_error)

    def test_a_file_that_nobody_has_open_is_closed_again(self) -> None:
        sharing = Kernel(77)
        assert not open_alone("C:\\x", sharing, sharing.last_error)
        assert sharing.closed == [77]
        path, access, share_mode, *_ = sharing.calls[0]
        assert (path, share_mode) == ("C:\\x", 0)
        assert access == 0x80000000, "for reading only"

    def test_errors_are_those_of_the_call_and_handles_as_wide_as_pointers(self) -> None:
        """Given a library that is loaded, then its own copy of the last error is asked for, and no handle is cut."""
        loaded: list[Any] = []

        def load(name: str, **how: Any) -> Any:
            loaded.append((name, how))
            return SimpleNamespace(CreateFileW=SimpleNamespace(), CloseHandle=SimpleNamespace())

        kernel32 = kernel(load)
        assert loaded == [("kernel32", {"use_last_error": True})]
        assert kernel32.CreateFileW.restype is ctypes.c_void_p
        assert kernel32.CloseHandle.argtypes == (ctypes.c_void_p,)

    def test_the_index_and_what_was_written_last_are_asked_for(self, tmp_path: Path) -> None:
        """Given an instrument that writes wells in an order of its own, then its last file is the one that is held."""
        made = make_plate(tmp_path / "hcs", PlateSpec(name="P1", wells=2, fields=1, channels=2, size=8))
        images = [file for file in made.files if file != made.entry]
        for file in made.files:
            os.utime(file, (1000, 2000 if file == images[1] else 1000))
        asked: list[Path] = []

        def held(path: Path) -> bool:
            asked.append(path)
            return path == images[1]

        glass = Glass(Share("hcs", tmp_path / "hcs"), pattern_of(()))
        view = Observer(glass, held).look_into(Candidate("hcs", PurePosixPath(made.folder.name)))
        assert view.look.held == images[1].relative_to(glass.share.root).as_posix()
        assert asked == [made.entry, images[1]]

    def test_elsewhere_nobody_can_tell(self) -> None:
        assert ASK is None
