"""Single files that hold all images: which are taken, what is taken along, and what is not one yet."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from fleet_common.errors import Permanent, Reason, Transient
from fleet_common.plates import End, Plate, container, detect, problems
from fleet_common.plates.container import ENDINGS, ContainerFormat
from support.memory import Memory

FORMAT = ContainerFormat()


def read(there: Memory, path: str) -> Plate:
    """Find and read a container; no other format may take it."""
    found, entry = detect(PurePosixPath(path), there)
    assert found.name == "container"
    return found.read(entry, there)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_container_is_its_file(ending: str) -> None:
    """Nothing is expected of what is in it, and the server chooses the reader; other files beside it are others'."""
    there = Memory({f"p/a{ending}": b"cells", "p/a.txt": b"x", f"p/b{ending}": b"cells"})
    plate = read(there, f"p/a{ending}")
    assert plate.files == (f"p/a{ending}",)
    assert (plate.expected, plate.planes, plate.reader, plate.end) == (None, (), "", End.UNKNOWN)
    assert problems(plate, there.sizes) == ()


def test_endings_may_be_capitals() -> None:
    """As some hosts write them."""
    assert read(Memory({"p/A.CZI": b"ZISRAWFILE"}), "p/A.CZI").files == ("p/A.CZI",)


def test_a_vsi_takes_the_folder_of_its_pixels_along() -> None:
    """That of its own name, with all below; not that of another."""
    there = Memory(
        {
            "p/a.vsi": b"II*\0",
            "p/_a_/stack1/frame_t_0.ets": b"x",
            "p/_a_/stack10001/frame_t.ets": b"x",
            "p/_a_/x.txt": b"x",
            "p/_b_/stack1/frame_t_0.ets": b"x",
        }
    )
    assert read(there, "p/a.vsi").files == (
        "p/a.vsi",
        "p/_a_/x.txt",
        "p/_a_/stack1/frame_t_0.ets",
        "p/_a_/stack10001/frame_t.ets",
    )
    assert read(Memory({"a.vsi": b"II*\0", "_a_/x.ets": b"x"}), "a.vsi").files == ("a.vsi", "_a_/x.ets")


def test_a_vsi_may_be_alone() -> None:
    """Small ones hold their pixels themselves."""
    assert read(Memory({"p/a.vsi": b"II*\0"}), "p/a.vsi").files == ("p/a.vsi",)


def test_an_oir_takes_its_numbered_parts_along() -> None:
    """Large ones go on in files without an ending."""
    names = ("a.oir", "a_00001", "a_00002", "a_1", "a_00001.txt", "ab_00001", "b.oir", "b_00001")
    there = Memory({f"p/{name}": b"OLYMPUSRAWFORMAT" for name in names})
    assert read(there, "p/a.oir").files == ("p/a.oir", "p/a_00001", "p/a_00002")


def test_an_empty_part_is_missed() -> None:
    """It is being written."""
    there = Memory({"p/a.vsi": b"II*\0", "p/_a_/stack1/frame_t_0.ets": b""})
    assert [str(problem) for problem in problems(read(there, "p/a.vsi"), there.sizes)] == [
        "p/_a_/stack1/frame_t_0.ets is empty"
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_being_copied_is_none_yet(ending: str) -> None:
    """Zeros may become an image: copies over SMB reserve the whole length first; so may an empty file."""
    path = f"p/a{ending}"
    with pytest.raises(Transient) as zeros:
        read(Memory({path: bytes(1000)}), path)
    assert zeros.value.reason is Reason.MANIFEST_DIFFERS
    with pytest.raises(Permanent) as empty:
        read(Memory({path: b""}), path)
    assert empty.value.reason is Reason.FILE_EMPTY
    assert read(Memory({path: b"\0cells"}), path).files == (path,)


@pytest.mark.parametrize("path", ["p", "p/.a.czi", "p/a.czi.tmp", "p/a.tif", "p/b.lif"])
def test_other_paths_are_left_to_others(path: str) -> None:
    """Folders, also one that is called like a file, hidden files and temporary names."""
    there = Memory({f"p/{name}": b"ZISRAWFILE" for name in (".a.czi", "a.czi.tmp", "a.tif", "b.lif/a.txt")})
    assert FORMAT.find_entry(PurePosixPath(path), there) is None


def test_folders_in_folders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop of mounts must end."""
    monkeypatch.setattr(container, "MAX_DEPTH", 1)
    with pytest.raises(Permanent) as caught:
        read(Memory({"p/a.vsi": b"II*\0", "p/_a_/b/c/d.ets": b"x"}), "p/a.vsi")
    assert caught.value.reason is Reason.FORMAT_BROKEN
