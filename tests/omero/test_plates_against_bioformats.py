"""Plate formats list the same files and expect the same images as the Bio-Formats of the server.

Every plate of this module is asked about in one Java process, see ``answers``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_common.plates import Sizes, problems
from fleet_common.storage import measure
from fleet_stack.omero.bioformats import ReaderError, UsedFiles
from fleet_stack.plates import MadePlate, PlateSpec, make_plate, tiff
from fleet_stack.plates.harmony7 import make_harmony7
from support.bioformats import DATA, Answer, compare, real


def small(**changes: object) -> PlateSpec:
    """A plate of 16 files."""
    values = {"wells": 4, "fields": 2, "channels": 2, "size": 16} | changes
    return PlateSpec(**values)  # type: ignore[arg-type]  # every test names fields of the spec


def rewritten(made: MadePlate, *changes: tuple[str, str]) -> None:
    """Change texts of the index, each once."""
    text = made.entry.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    made.entry.write_text(text)


def with_junk(made: MadePlate) -> None:
    """Put around the images what facilities and analysis software leave there."""
    evaluation = made.folder / "Evaluation1"
    (evaluation / "deeper" / "deepest").mkdir(parents=True)
    (evaluation / "deeper" / "lost.txt").write_text("too deep")
    for name in (
        "PlateResults.xml",
        "overview.tif",
        "well.tiff",
        "WELL.TIFF",
        "x.tiff.gz",
        "ü.txt",
        "z.txt",
        ".hidden",
    ):
        (evaluation / name).write_text("x")
    # UTF-16 sorts an emoji before a full-width letter, Unicode the other way round
    for name in ("\N{GRINNING FACE}.txt", "\N{FULLWIDTH LATIN CAPITAL LETTER A}.txt"):
        (made.folder / name).write_text("x")
    (made.folder / ".DS_Store").write_text("x")
    (made.folder / "notes.txt").write_text("x")
    (made.folder / "thumbnail.tiff").write_text("x")
    (made.folder / "Images" / "notes.txt").write_text("x")
    (made.folder / "Images" / "sub").mkdir()
    (made.folder / "Images 2").mkdir()
    shutil.copy(made.entry, made.folder / "Images 2" / "Index.idx.xml")
    (made.folder / "empty folder").mkdir()


def without_a_file(made: MadePlate) -> None:
    """Lose the second channel of the second field."""
    list(made.tiffs.values())[3].unlink()


def with_failed_images(made: MadePlate) -> None:
    """Two images that the instrument could not take: one is not there, the other lists a file that is."""
    urls = [path.name for path in made.tiffs.values()]
    (made.folder / "Images" / urls[1]).unlink()
    rewritten(
        made,
        (f"<State>Ok</State>\n      <URL>{urls[1]}</URL>", f"<State>FocusFailed</State>\n      <URL>{urls[1]}</URL>"),
        (f"<State>Ok</State>\n      <URL>{urls[2]}</URL>", f"<State>FocusFailed</State>\n      <URL>{urls[2]}</URL>"),
    )


def with_other_sizes(made: MadePlate) -> None:
    """One field is wider than all others, and so is the blank one after it."""
    made.entry.write_text(made.entry.read_text().replace("<ImageSizeX>16<", "<ImageSizeX>24<", 2))
    for path in list(made.tiffs.values())[:2]:
        tiff(path, size=24)


def as_reference_index(made: MadePlate) -> None:
    """Harmony calls the index so when images are only referred to."""
    made.entry.rename(made.entry.with_name("Index.ref.xml"))


def in_other_folder(made: MadePlate) -> None:
    """Bio-Formats does not ask for the name Images."""
    (made.folder / "Images").rename(made.folder / "raw")


def with_spread_time_points(made: MadePlate) -> None:
    """Time points and planes need not be counted without gaps."""
    text = made.entry.read_text()
    made.entry.write_text(text.replace("<TimepointID>1<", "<TimepointID>7<").replace("<PlaneID>2<", "<PlaneID>10<"))


def unchanged(_: MadePlate) -> None:
    """Leave the plate as it was made."""


PLATES: dict[str, tuple[PlateSpec, Callable[[MadePlate], None]]] = {
    **{f"HarmonyV{version}": (small(harmony=version), unchanged) for version in range(1, 7)},
    "planes": (small(planes=3), unchanged),
    "time points": (small(timepoints=3), unchanged),
    "everything": (small(planes=2, timepoints=2, channels=3), unchanged),
    "gaps": (small(planes=2, timepoints=2), with_spread_time_points),
    "more than nine": (small(wells=12, fields=11, channels=1), unchanged),
    "missing wells": (small(positions=((0, 0), (1, 2), (7, 11))), unchanged),
    "missing field": (small(absent=frozenset({(0, 0, 0), (0, 1, 1)})), unchanged),
    "384 wells": (small(positions=((15, 23), (0, 3)), fields=1), unchanged),
    "eight bits": (small(dtype="uint8"), unchanged),
    "junk": (small(), with_junk),
    "no companions": (small(companions=False), unchanged),
    "umlaut": (small(name="Plätte 1 #2"), unchanged),
    "failed images": (small(), with_failed_images),
    "other sizes": (small(absent=frozenset({(0, 0, 1)})), with_other_sizes),
    "Index.ref.xml": (small(), as_reference_index),
    "other folder": (small(), in_other_folder),
}

BROKEN: dict[str, Callable[[MadePlate], None]] = {"missing file": without_a_file}


def entry_of(made: MadePlate) -> Path:
    """The index, also where a change has moved it."""
    return next(path for path in made.folder.glob("*/Index.*.xml") if path.parent.name != "Images 2")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Every made plate as we read it and as Bio-Formats does."""
    root = tmp_path_factory.mktemp("share")
    entries: dict[str, Path] = {}
    for name, (spec, change) in (PLATES | {name: (small(), change) for name, change in BROKEN.items()}).items():
        made = make_plate(root / name, spec)
        change(made)
        entries[name] = entry_of(made)
    return compare(root, entries, "harmony")


@pytest.mark.parametrize("name", PLATES)
def test_the_file_list_is_that_of_bioformats(answers: dict[str, Answer], name: str) -> None:
    """Same files, same order, the entry first."""
    answer = answers[name]
    assert list(answer.plate.files) == answer.reader_files
    assert answer.plate.files[0] == answer.plate.entry
    assert answer.missed == []


@pytest.mark.parametrize("name", PLATES)
def test_the_expected_images_are_those_of_bioformats(answers: dict[str, Answer], name: str) -> None:
    """As many images, and each as large in x, y, planes, channels and time points."""
    answer = answers[name]
    assert answer.expected_sizes == answer.reader_sizes
    assert isinstance(answer.used, UsedFiles)
    assert answer.plate.expected is not None
    assert answer.plate.expected.images == answer.used.series_count
    assert answer.plate.reader == answer.used.reader_class


def test_a_well_without_images_becomes_a_blank_well(answers: dict[str, Answer]) -> None:
    """Three wells in three rows and three columns are nine wells in OMERO, of which three were measured."""
    plate = answers["missing wells"].plate
    assert plate.expected is not None
    assert len(plate.expected.wells) == 9
    assert plate.measured_wells == {(0, 0), (1, 2), (7, 11)}
    assert plate.measured_wells < plate.expected.wells


def test_bioformats_drops_a_missing_file_where_we_name_it(answers: dict[str, Answer]) -> None:
    """This is why completeness is checked before anything is published."""
    answer = answers["missing file"]
    (lost,) = set(answer.plate.files) - set(answer.reader_files)
    (problem,) = problems(answer.plate, measure(answer.share, answer.plate.files))
    assert (problem.path, problem.problem) == (lost, "missing")
    assert problem.where == "well A01, field 2, channel 2, plane 1, time point 1"


def test_failed_images_are_told_apart_from_missing_files(answers: dict[str, Answer]) -> None:
    """What the instrument could not take is its own record, and no missing file."""
    plate = answers["failed images"].plate
    assert [(error.where[:8], error.state) for error in plate.errors] == [("well A01", "FocusFailed")] * 2
    assert sum(plane.path is None for plane in plate.planes) == 1


def test_a_real_measurement_is_read_alike() -> None:
    """An Opera Phenix export, one well of a 384-well plate."""
    entry = real("harmony-phenix-1well/Images/Index.idx.xml")
    answer = compare(DATA, {"phenix": entry}, "harmony")["phenix"]
    assert list(answer.plate.files) == answer.reader_files
    assert answer.expected_sizes == answer.reader_sizes == [Sizes(1080, 1080, 1, 6, 1)]
    assert answer.plate.expected is not None
    assert (answer.plate.expected.rows, answer.plate.expected.columns) == (16, 24)
    assert answer.plate.expected.channels[0] == "Alexa 647"
    assert answer.plate.identity == "5de72537-0fda-42a5-8715-2e605ccb652c"


def test_the_newest_layout_is_not_read_where_we_ask_for_a_newer_reader(tmp_path: Path) -> None:
    """HarmonyV7 puts the index above the images; this Bio-Formats does not find them (ome/bioformats#4314)."""
    made = make_harmony7(tmp_path, small())
    answer = compare(tmp_path, {"harmony 7": made.entry}, "harmony")["harmony 7"]
    assert isinstance(answer.used, ReaderError) or not any(name.endswith(".tiff") for name in answer.reader_files)
    assert answer.plate.needs_bioformats == (8, 3, 0)
    assert answer.missed == []
