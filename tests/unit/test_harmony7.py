"""Harmony measurements whose images lie in folders below the index: HarmonyV7, and HarmonyV6 with backslashes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.plates import Plate, problems
from fleet_common.plates.harmony import HarmonyFormat
from fleet_common.plates.model import NO_READER_YET
from fleet_stack.plates import MadePlate, PlateSpec
from fleet_stack.plates.harmony7 import NAMESPACE, make_harmony7
from support.memory import Memory

FORMAT = HarmonyFormat()
SPEC = PlateSpec(name="P1", wells=2, fields=1, channels=2, size=8)
FOLDER = PurePosixPath("P1__2026-01-01T10_00_00-Measurement 1")
INDEX = FOLDER / "index.idx.xml"
FIRST = FOLDER / "images/r01c01/r01c01f01p01-ch1sk1fk1fl1.tiff"


@pytest.fixture
def made(tmp_path: Path) -> MadePlate:
    """A measurement of 2 wells and 2 channels."""
    return make_harmony7(tmp_path, SPEC)


@pytest.fixture
def there(made: MadePlate) -> Memory:
    """Its files."""
    return Memory.of(made.folder.parent)


def read(there: Memory, path: PurePosixPath = FOLDER) -> Plate:
    """Find and read the plate."""
    entry = FORMAT.find_entry(path, there)
    assert entry is not None
    return FORMAT.read(entry, there)


def changed(there: Memory, *changes: tuple[str, str]) -> Memory:
    """The measurement with texts of its index changed, wherever they stand."""
    there.change(str(INDEX), *changes, count=-1)
    return there


def moved(there: Memory, old: str, new: str) -> Memory:
    """The measurement with a part of its paths changed."""
    return Memory({path.replace(old, new): content for path, content in there.files.items()})


def test_images_are_found_in_the_folders_below(there: Memory) -> None:
    """The index names them from within ``images``; nothing else is taken along."""
    there.put(str(FOLDER / "notes.txt"), b"x")
    plate = read(there)
    assert problems(plate, there.sizes) == ()
    assert plate.files[:2] == (str(INDEX), str(FIRST))
    assert len(plate.files) == 5
    assert plate.needs_bioformats == (8, 3, 0)
    assert plate.expected is not None
    assert (plate.expected.wells, plate.expected.fields_per_well) == (frozenset({(0, 0), (0, 1)}), 1)
    assert plate.reader == "loci.formats.in.OperettaReader"


def test_names_may_also_begin_at_the_index(there: Memory) -> None:
    """Whichever way an index names them, each file is found once."""
    before = read(there)
    assert read(changed(there, ("<URL>", "<URL>images/"))) == before


def test_images_beside_the_index_need_no_folder(there: Memory) -> None:
    """Then companions are taken as in older layouts, and Bio-Formats must know the name of the index."""
    flat = moved(changed(there, ("<URL>r01c01/", "<URL>"), ("<URL>r01c02/", "<URL>")), "/images/r01c0", "/")
    flat = Memory({path.replace("/1/", "/").replace("/2/", "/"): content for path, content in flat.files.items()})
    flat = Memory({f"day/{path}": content for path, content in flat.files.items()})
    plate = read(flat, "day" / FOLDER)
    assert problems(plate, flat.sizes) == ()
    assert plate.files[1] == f"day/{FOLDER}/{FIRST.name}"
    assert plate.needs_bioformats == (8, 3, 0)


def test_a_missing_image_is_missed_where_the_others_are(there: Memory) -> None:
    """By well and field."""
    there.remove(str(FIRST))
    plate = read(there)
    assert [str(problem) for problem in problems(plate, there.sizes)] == [
        f"{FIRST} is missing (well A01, field 1, channel 1, plane 1, time point 1)"
    ]


def test_before_the_first_image_all_are_missed(there: Memory) -> None:
    """Where they will be is not known yet; that they are not there is."""
    plate = read(Memory({str(INDEX): there.files[str(INDEX)]}))
    assert len(problems(plate, {str(INDEX): 1})) == 4


def test_backslashes_are_read_here_and_by_no_bioformats(tmp_path: Path) -> None:
    """See ome/bioformats#4485."""
    there = Memory.of(make_harmony7(tmp_path, SPEC, "\\").folder.parent)
    plate = read(there)
    assert problems(plate, there.sizes) == ()
    assert plate.files[1] == str(FIRST)
    assert plate.needs_bioformats == NO_READER_YET


def test_backslashes_of_harmony_6_beside_their_folders(tmp_path: Path) -> None:
    """As glencoesoftware/bioformats2raw#277 has it: ``images/index.xml`` and folders of wells beside it."""
    made = make_harmony7(tmp_path / "instrument", SPEC, "\\")
    text = made.entry.read_text().replace(NAMESPACE, "http://www.perkinelmer.com/PEHH/HarmonyV6")
    (made.folder / "images/index.xml").write_text(text)
    made.entry.unlink()
    (made.folder / "notes.txt").write_text("x")
    there = Memory.of(tmp_path)
    folder = PurePosixPath(made.folder.relative_to(tmp_path).as_posix())
    plate = read(there, folder)
    assert plate.entry == str(folder / "images/index.xml")
    assert problems(plate, there.sizes) == ()
    assert plate.files[1] == str(folder / "notes.txt")
    assert plate.files[2] == str(folder / "images/r01c01" / FIRST.name)
    assert plate.needs_bioformats == NO_READER_YET


def test_an_image_in_two_folders_is_refused(there: Memory) -> None:
    """Nobody can tell which is meant."""
    there.put(str(FOLDER / "copy/r01c01" / FIRST.name), b"x")
    with pytest.raises(Permanent, match="move one of them away") as caught:
        read(there)
    assert caught.value.reason is Reason.FORMAT_BROKEN


@pytest.mark.parametrize(
    "url",
    ["../r01c01f01p01-ch1sk1fk1fl1.tiff", "/etc/passwd", "http://example.org/a.tiff", "..\\..\\a.tiff", "C:\\a.tiff"],
)
def test_a_url_that_leaves_the_folder_is_refused(there: Memory, url: str) -> None:
    """URLs stand in a file that anybody may have written."""
    with pytest.raises(Permanent, match=r"line \d+ in <Image>") as caught:
        read(changed(there, (f"r01c01/{FIRST.name}", url)))
    assert caught.value.reason is Reason.UNSAFE_PATH
