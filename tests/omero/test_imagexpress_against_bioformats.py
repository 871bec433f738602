"""ImageXpress plates: the same files and images as the Bio-Formats of the server, and where that one says nothing.

Every plate of this module is asked about in one Java process, see ``answers``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_common.plates import Sizes, problems
from fleet_common.plates.gaps import gaps
from fleet_common.storage import measure
from fleet_stack.omero.bioformats import ReaderError, UsedFiles
from fleet_stack.plates import PlaneKey, PlateSpec, tiff
from fleet_stack.plates.imagexpress import ImageXpressPlate, Options, make_imagexpress
from support.bioformats import DATA, Answer, compare, real

Change = Callable[[ImageXpressPlate], object]


def small(**changes: object) -> PlateSpec:
    """A plate of 3 wells, 2 sites and 2 waves."""
    values = {"name": "P1", "wells": 3, "fields": 2, "channels": 2, "size": 16} | changes
    return PlateSpec(**values)  # type: ignore[arg-type]  # every test names fields of the spec


def unchanged(_: ImageXpressPlate) -> None:
    """Leave the plate as it was made."""


def with_junk(made: ImageXpressPlate) -> None:
    """What facilities, analysis software and other plates leave there."""
    (made.folder / "sub").mkdir()
    for name in (
        "P2_A01_s1_w1.TIF",
        "Thumbs.db",
        "notes.txt",
        "sub/P1_A01_s1_w1.TIF",
        "P1_A01.log",
        ".hidden_thumb.tif",
    ):
        (made.folder / name).write_text("x")


def with_another_plates_thumbnails(made: ImageXpressPlate) -> None:
    """Bio-Formats takes them along, whosesoever they are."""
    for name in ("P2_A01_thumb.tif", "Z_THUMB.TIF", "thumb.tif", "a_Thumbnail.txt"):
        (made.folder / name).write_text("x")


def with_a_wider_first_image(made: ImageXpressPlate) -> None:
    """Bio-Formats gives its extent to all."""
    tiff(next(iter(made.tiffs.values())), size=24)


def lose(made: ImageXpressPlate, which: Callable[[PlaneKey], bool]) -> None:
    """Lose the files of some planes."""
    for key, path in made.tiffs.items():
        if which(key):
            path.unlink()


PLATES: dict[str, tuple[PlateSpec, Options, Change]] = {
    "export": (small(), Options(), unchanged),
    "database": (small(), Options(guids=True, thumbs=True), unchanged),
    "one site": (small(fields=1), Options(), unchanged),
    "one wave": (small(channels=1), Options(), unchanged),
    "one image": (small(fields=1, channels=1), Options(), unchanged),
    "eleven sites": (small(fields=11, wells=1), Options(), unchanged),
    "eleven sites with GUIDs": (small(fields=11, wells=1), Options(guids=True), unchanged),
    "folders": (small(), Options(folders=True), unchanged),
    "time points": (small(timepoints=3), Options(folders=True), unchanged),
    "stacks": (small(planes=3), Options(folders=True), unchanged),
    "everything": (small(planes=2, timepoints=2, channels=3), Options(folders=True), unchanged),
    "projections": (small(planes=2), Options(folders=True, projections=True), unchanged),
    "eleven steps": (small(planes=11, wells=1), Options(folders=True), unchanged),
    "sparse": (small(positions=((0, 0), (2, 3), (7, 11))), Options(), unchanged),
    "384 wells": (small(positions=((15, 23), (0, 3))), Options(), unchanged),
    "eight bits": (small(dtype="uint8"), Options(), unchanged),
    "selected sites": (small(fields=3), Options(grid=(3, 2)), unchanged),
    "junk": (small(), Options(), with_junk),
    "thumbnails": (small(), Options(thumbs=True), with_another_plates_thumbnails),
    "umlaut": (small(name="Plätte 1 #2"), Options(), unchanged),
    "line feeds": (small(), Options(ending="\n", encoding="utf-8"), unchanged),
    "wider first image": (small(), Options(), with_a_wider_first_image),
}

DAMAGED: dict[str, tuple[PlateSpec, Options, Change]] = {
    "missing image": (small(), Options(), lambda made: made.tiffs[PlaneKey(0, 1, 1, 0, 0, 1)].unlink()),
    "missing well": (small(), Options(), lambda made: lose(made, lambda key: key.column == 1)),
    "missing time point": (small(timepoints=2), Options(folders=True), lambda made: lose(made, lambda key: key.t == 1)),
    "mixed acquisition": (
        small(planes=3),
        Options(folders=True),
        lambda made: lose(made, lambda key: key.c == 1 and key.z > 0),
    ),
    "no images": (small(), Options(), lambda made: lose(made, lambda _: True)),
    "no stack said as 0": (small(), Options(z_steps=0), unchanged),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Every made plate as we read it and as Bio-Formats does."""
    root = tmp_path_factory.mktemp("share")
    entries: dict[str, Path] = {}
    for name, (spec, options, change) in (PLATES | DAMAGED).items():
        made = make_imagexpress(root / name, spec, options)
        change(made)
        entries[name] = made.entry
    return compare(root, entries, "imagexpress")


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


@pytest.mark.parametrize(("name", "lost"), [("missing image", 1), ("missing well", 4), ("missing time point", 12)])
def test_bioformats_drops_missing_files_where_we_name_them(answers: dict[str, Answer], name: str, lost: int) -> None:
    """This is why completeness is checked before anything is published."""
    answer = answers[name]
    assert len(answer.missed) == lost
    assert not set(answer.missed) & set(answer.reader_files)
    assert len(answer.reader_sizes) == 6


@pytest.mark.parametrize("name", ["mixed acquisition", "no images"])
def test_the_reader_dies_where_we_say_what_is_missing(answers: dict[str, Answer], name: str) -> None:
    """Its error is none that an operator understands; we name the files, before anything is published."""
    assert isinstance(answers[name].used, ReaderError)
    assert len(answers[name].missed) == 12


def test_the_reader_dies_of_a_plan_without_planes(answers: dict[str, Answer]) -> None:
    """MetaXpress 6.7 says 0 steps where there is no stack; nothing is missing, and no Bio-Formats opens it."""
    answer = answers["no stack said as 0"]
    assert isinstance(answer.used, ReaderError)
    assert answer.missed == []


def test_a_real_export_that_lacks_what_its_plan_has_is_told_channel_by_channel() -> None:
    """Given 2 of 6 time points and 2 of 4 waves, at which the reader dies; then we say what there is not."""
    entry = real("imagexpress-export-2wells-2timepoints/9987.HTD")
    answer = compare(DATA, {"real": entry}, "imagexpress")["real"]
    assert isinstance(answer.used, ReaderError)
    assert "ArrayIndexOutOfBounds" in str(answer.used)
    plate = answer.plate
    assert plate.expected is not None
    assert (plate.expected.sizes, plate.expected.fields_per_well) == (Sizes(256, 256, 1, 4, 6), 2)
    assert len(plate.files) == 1 + 2 * 2 * 4 * 6
    found = problems(plate, measure(answer.share, plate.files))
    assert len(found) == 96 - 16
    where = "wells B02 B03, fields 1-2, plane 1, time points"
    assert gaps(plate, found) == (
        f"channel 1 (DAPI): 16 of 24 planes are missing or empty: {where} 3-6",
        f"channel 2 (FITC): 16 of 24 planes are missing or empty: {where} 3-6",
        f"channel 3 (Texas Red): 24 of 24 planes are missing or empty: {where} 1-6",
        f"channel 4 (Cy5): 24 of 24 planes are missing or empty: {where} 1-6",
    )
