"""IN Cell plates: the same files and images as the Bio-Formats of the server, and where that one says nothing.

Every plate of this module is asked about in one Java process, see ``answers``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_common.errors import Permanent, Reason
from fleet_common.plates import End
from fleet_common.storage import Share
from fleet_stack.omero.bioformats import ReaderError, UsedFiles, ask
from fleet_stack.plates import PlaneKey, PlateSpec, tiff
from fleet_stack.plates.incell import InCellPlate, Options, make_incell
from support.bioformats import Answer, compare, read

Change = Callable[[InCellPlate], object]


def small(**changes: object) -> PlateSpec:
    """A plate of 3 wells, 2 fields and 2 channels."""
    values = {"name": "P1", "wells": 3, "fields": 2, "channels": 2, "size": 16} | changes
    return PlateSpec(**values)  # type: ignore[arg-type]  # every test names fields of the spec


def unchanged(_: InCellPlate) -> None:
    """Leave the plate as it was made."""


def with_junk(made: InCellPlate) -> None:
    """What facilities, analysis software and other plates leave there."""
    (made.folder / "sub").mkdir()
    for name in ("Thumbs.db", "notes.txt", "P1.xlog", "X - 1(fld 1 wv DAPI - DAPI).tif", "sub/a.tif", ".hidden"):
        (made.folder / name).write_text("x")


def with_a_wider_first_image(made: InCellPlate) -> None:
    """Bio-Formats gives its extent to all."""
    tiff(next(iter(made.tiffs.values())), size=24)


def lose(made: InCellPlate, which: Callable[[PlaneKey], bool]) -> None:
    """Lose the files of some planes."""
    for key, path in made.tiffs.items():
        if which(key):
            path.unlink()


PLATES: dict[str, tuple[PlateSpec, Options, Change]] = {
    "plain": (small(), Options(), unchanged),
    "thumbnails": (small(), Options(thumbs=True), unchanged),
    "lost thumbnails": (small(), Options(thumbs=True), lambda made: made.thumbs[PlaneKey(0, 1, 1, 0, 0, 1)].unlink()),
    "one image": (small(wells=1, fields=1, channels=1), Options(), unchanged),
    "time points": (small(timepoints=3), Options(), unchanged),
    "stacks": (small(planes=3), Options(), unchanged),
    "everything": (small(planes=2, timepoints=2, channels=3), Options(), unchanged),
    "waves by time": (small(timepoints=2, channels=3), Options(waves_by_time=(3, 1)), unchanged),
    "stacks of waves by time": (small(timepoints=3, planes=2, channels=2), Options(waves_by_time=(1, 2, 1)), unchanged),
    "listed waves": (small(timepoints=2), Options(waves_by_time=(2, 2)), unchanged),
    "schedule off": (small(), Options(schedule=(2, 2, 2)), unchanged),
    "more than nine": (small(fields=11, channels=1), Options(), unchanged),
    "sparse": (small(positions=((0, 0), (2, 3), (7, 11))), Options(), unchanged),
    "excluded": (small(), Options(excluded=((0, 3), (7, 11))), unchanged),
    "384 wells": (small(positions=((15, 23), (0, 3))), Options(), unchanged),
    "1536 wells": (small(positions=((31, 47), (0, 3))), Options(), unchanged),
    "eight bits": (small(dtype="uint8"), Options(), unchanged),
    "no barcode": (small(), Options(barcode=""), unchanged),
    "junk": (small(), Options(), with_junk),
    "umlaut": (small(name="Plätte 1 #2"), Options(), unchanged),
    "wider first image": (small(), Options(), with_a_wider_first_image),
}

DAMAGED: dict[str, tuple[PlateSpec, Options, Change]] = {
    "missing image": (small(), Options(), lambda made: made.tiffs[PlaneKey(0, 1, 1, 0, 0, 1)].unlink()),
    "missing well": (small(), Options(), lambda made: lose(made, lambda key: key.column == 1)),
    "missing time point": (small(timepoints=2), Options(), lambda made: lose(made, lambda key: key.t == 1)),
    "no images": (small(), Options(), lambda made: lose(made, lambda _: True)),
    "not all listed": (small(), Options(number=1), unchanged),
    "schedule off, other waves": (small(channels=3), Options(schedule=(3, 1)), unchanged),
    "schedule off, fewer waves": (small(channels=3), Options(schedule=(1, 1)), unchanged),
}

SPARSE: dict[str, PlateSpec] = {
    "missing field": small(absent=frozenset({(0, 1, 1)})),
    "a field of its own in every well": small(
        fields=3, absent=frozenset((0, well, field) for well in range(3) for field in range(3) if well != field)
    ),
}


def made_plates(root: Path, specs: dict[str, tuple[PlateSpec, Options, Change]]) -> dict[str, Path]:
    """The entry of every made plate."""
    entries: dict[str, Path] = {}
    for name, (spec, options, change) in specs.items():
        made = make_incell(root / name, spec, options)
        change(made)
        entries[name] = made.entry
    return entries


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Every made plate as we read it and as Bio-Formats does."""
    root = tmp_path_factory.mktemp("share")
    return compare(root, made_plates(root, PLATES | DAMAGED), "incell")


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
    assert answer.plate.reader == answer.used.reader_class
    assert answer.plate.needs_bioformats == ()


@pytest.mark.parametrize(
    ("name", "lost"), [("missing image", 1), ("missing well", 4), ("missing time point", 12), ("no images", 12)]
)
def test_bioformats_drops_missing_files_where_we_name_them(answers: dict[str, Answer], name: str, lost: int) -> None:
    """This is why completeness is checked before anything is published."""
    answer = answers[name]
    assert len(answer.missed) == lost
    assert not set(answer.missed) & set(answer.reader_files)
    assert len(answer.reader_sizes) == 6


@pytest.mark.parametrize("name", ["schedule off, other waves", "schedule off, fewer waves"])
def test_the_reader_dies_of_a_schedule_that_is_off_where_we_ask_for_a_newer_one(
    answers: dict[str, Answer], name: str
) -> None:
    """It counts the wavelengths of time points that were never acquired (ome/bioformats#4283)."""
    answer = answers[name]
    assert isinstance(answer.used, ReaderError)
    assert answer.plate.needs_bioformats == (8, 1, 1)
    assert answer.missed == []


def test_a_plate_whose_xdce_does_not_list_all_its_images_is_still_running(answers: dict[str, Answer]) -> None:
    """Bio-Formats takes it for whole."""
    assert answers["not all listed"].plate.end is End.RUNNING
    assert answers["plain"].plate.end is End.ENDED
    assert isinstance(answers["not all listed"].used, UsedFiles)


def test_the_reader_loses_the_last_fields_of_sparse_plates_which_we_refuse(tmp_path: Path) -> None:
    """Given wells that differ in their fields; then it makes fewer images than there are and leaves out files."""
    entries = made_plates(tmp_path, {name: (spec, Options(), unchanged) for name, spec in SPARSE.items()})
    for said, entry in zip(ask(list(entries.values())), entries.values(), strict=True):
        images = len(list(entry.parent.glob("*.tif")))
        lost = isinstance(said, ReaderError) or sum(path.suffix == ".tif" for path in said.files) < images
        assert lost, said
        with pytest.raises(Permanent, match="ome/bioformats#3898") as caught:
            read(Share("hcs", tmp_path), entry, "incell")
        assert caught.value.reason is Reason.UNSUPPORTED
