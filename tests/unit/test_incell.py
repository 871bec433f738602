"""XDCEs of IN Cell plates: what is read from a good one, and what is refused in a bad one, with its line."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason
from fleet_common.plates import End, Plate, Sizes
from fleet_common.plates.incell import InCellFormat, stack
from fleet_stack.plates import PlaneKey, PlateSpec
from fleet_stack.plates.incell import InCellPlate, Options, make_incell
from support.memory import Memory

FORMAT = InCellFormat()
ENTRY = PurePosixPath("P1/P1.xdce")
SPEC = PlateSpec(name="P1", wells=2, fields=2, channels=2, size=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> InCellPlate:
    """A plate of 2 wells, 2 fields and 2 channels."""
    return make_incell(tmp_path_factory.mktemp("made"), SPEC)


@pytest.fixture
def there(made: InCellPlate) -> Memory:
    """Its files."""
    return Memory.of(made.folder.parent)


def changed(there: Memory, *changes: tuple[str, str]) -> Memory:
    """The plate with texts of its XDCE changed, each once."""
    there.change(str(ENTRY), *changes, encoding="latin-1")
    return there


def read(there: Memory) -> Plate:
    """Find and read the plate."""
    assert FORMAT.find_entry(PurePosixPath("P1"), there) == ENTRY
    return FORMAT.read(ENTRY, there)


def made_plate(root: Path, spec: PlateSpec, options: Options) -> Plate:
    """Make a plate and read it."""
    return read(Memory.of(make_incell(root, spec, options).folder.parent))


def test_a_plate_tells_what_its_xdce_knows(there: Memory) -> None:
    """Names, identity, people and times."""
    plate = read(there)
    assert plate.expected is not None
    assert (plate.expected.name, plate.expected.barcode) == ("P1", "BC-4711")
    assert plate.expected.channels == ("DAPI", "FITC")
    assert (plate.operator, plate.instrument) == ("demo operator", "IN Cell Analyzer 2000")
    assert plate.started_at == "2026-01-01T10:00:00"
    assert plate.reader == "loci.formats.in.InCellReader"
    assert plate.end is End.ENDED


def test_the_extent_is_that_of_the_first_image_or_else_of_the_camera(there: Memory) -> None:
    """A first image that is cut tells nothing; neither does an .im file."""
    first = read(there).planes[0].path
    assert first is not None
    there.put(first, b"II")
    expected = read(changed(there, ('<Size height="8" width="8"/>', '<Size height="7" width="9"/>'))).expected
    assert expected is not None
    assert expected.sizes[:2] == (9, 7)
    assert read(changed(there, ('<Size height="7" width="9"/>', ""))).expected is None


def test_images_may_lie_in_folders_below(there: Memory) -> None:
    """As the XDCE names them, with their thumbnails."""
    moved = "sub/A - 1(fld 1 wv DAPI - DAPI).tif"
    there.put(f"P1/{moved}", there.files["P1/A - 1(fld 1 wv DAPI - DAPI).tif"])
    there.put("P1/sub/t.jpg", b"x")
    there.remove("P1/A - 1(fld 1 wv DAPI - DAPI).tif")
    named = 'filename="A - 1(fld 1 wv DAPI - DAPI).tif" thumbnail="A - 1(fld 1 wv DAPI - DAPI)_thumb.jpg"'
    plate = read(changed(there, (named, f'filename="{moved}" thumbnail="sub/t.jpg"')))
    assert plate.files[1:3] == (f"P1/{moved}", "P1/sub/t.jpg")


def test_time_points_with_other_waves_are_images_of_their_own(tmp_path: Path) -> None:
    """Given 3 waves in the first time point and 1 in the second; then each field has two images."""
    spec = PlateSpec(name="P1", wells=1, fields=2, channels=3, timepoints=2, size=8)
    plate = made_plate(tmp_path, spec, Options(waves_by_time=(3, 1)))
    assert plate.expected is not None
    assert (plate.expected.fields_per_well, plate.expected.sizes) == (4, Sizes(8, 8, 1, 3, 1))
    assert plate.expected.other_sizes == {(0, 0, 1): Sizes(8, 8, 1, 1, 1), (0, 0, 3): Sizes(8, 8, 1, 1, 1)}
    assert [tuple(plane[:6]) for plane in plate.planes][:4] == [(0, 0, 0, 0, 0, c) for c in range(3)] + [
        (0, 0, 1, 0, 0, 0)
    ]


def test_a_schedule_that_is_off_and_differs_needs_a_newer_reader(tmp_path: Path) -> None:
    """See ome/bioformats#4283."""
    plate = made_plate(tmp_path, SPEC, Options(schedule=(2, 1)))
    assert plate.needs_bioformats == (8, 1, 1)
    assert plate.expected is not None
    assert plate.expected.sizes.t == 1
    assert made_plate(tmp_path, SPEC, Options(schedule=(2, 0, 2))).needs_bioformats == ()


@pytest.mark.parametrize("lost", [PlaneKey(0, 1, 1, 0, 0, 1), PlaneKey(0, 0, 0, 0, 0, 0)])
def test_a_plate_with_gaps_is_refused_once_it_is_at_its_end(there: Memory, made: InCellPlate, lost: PlaneKey) -> None:
    """Bio-Formats would lose the last images without a word (ome/bioformats#3898); while it runs, they may come."""
    name = made.tiffs[lost].name
    text = there.files[str(ENTRY)].decode("latin-1")
    (line,) = [line for line in text.splitlines(keepends=True) if name in line]
    running = read(changed(there, (line, "")))
    assert running.end is End.RUNNING
    assert len(running.planes) == 7
    with pytest.raises(Permanent, match="7 images of 2 planes each in 2 wells") as caught:
        read(changed(there, ('<Images number="8">', '<Images number="7">')))
    assert caught.value.reason is Reason.UNSUPPORTED


THUMB = 'thumbnail="A - 1(fld 1 wv DAPI - DAPI)_thumb.jpg"'
IMAGE = f'<Image acquisition_time_ms="0.0" filename="A - 1(fld 1 wv DAPI - DAPI).tif" {THUMB}>'
WELL = '<Well label="A - 1"><Row number="1"/><Column number="1"/></Well>'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('rows="8"/>\n    <PlateMap', 'rows="0"/>\n    <PlateMap', "in <Plate>: rows is 0, not within 1 and 256"),
        ('columns="12" name', 'columns="x" name', "columns is 'x', not a whole number"),
        ("<PlateMap>", '<Plate columns="12" rows="8"/><PlateMap>', "there is a second plate"),
        ("<Wavelengths>", "<Wavelengths><PlateMap/>", "in <PlateMap>: it comes before <Plate>"),
        ('fusion_wave="false" ', "", "fusion_wave is missing"),
        ("  <Images number", '<Wavelength fusion_wave="false"/><Images number', "it comes after <PlateMap>"),
        ("<UserComment/>", '<Images number="8"/>', "in <Images>: it comes before <PlateMap>"),
        ('<Images number="8">', "<Images>", "number is missing"),
        ('<Images number="8">', '<Images number="0">', "lists 8 images and says that there are 0"),
        ('<Images number="8">', '<Images number="7">', "Bio-Formats would lose the last wells"),
        ('filename="A - 1(fld 1 wv DAPI - DAPI).tif" ', "", "filename is missing"),
        (THUMB, 'thumbnail=""', "thumbnail is empty"),
        (WELL, "", "it comes before the file or the well of its image"),
        (WELL, WELL.replace('<Row number="1"/>', ""), "in <Column>: it comes before <Row>"),
        (WELL, WELL.replace('<Row number="1"/>', '<Row number="9"/>'), "number is 9, not within 1 and 8"),
        ('field_index="0"', 'field_index="2"', "field_index is 2, not within 0 and 1"),
        ('wave_index="0"', 'wave_index="2"', "wave_index is 2, not within 0 and 1"),
        ('time_index="0"', 'time_index="1"', "time_index is 1, not within 0 and 0"),
        ('z_index="0"', "", "z_index is missing"),
        ('wave_index="0"', 'wave_index="1"', "this is the same plane as the image of line"),
        ("(fld 1 wv FITC - FITC)", "(fld 1 wv DAPI - DAPI)", "is already that of line"),
        (IMAGE, IMAGE.replace("A - 1(fld 1 wv DAPI - DAPI).tif", "P1.xdce"), "is already that of line 1"),
        ("<UserComment/>", "<UserComment>", "mismatched tag"),
        ("<ImageStack ", "<Stack ", "the root element is <Stack>, not <ImageStack>"),
        ("<ImageStack ", "<!DOCTYPE x><ImageStack ", "it has a DOCTYPE"),
        ("<UserComment/>", "&x;", "undefined entity"),
    ],
)
def test_a_wrong_xdce_is_refused(there: Memory, old: str, new: str, words: str) -> None:
    """Whatever Bio-Formats would fail at, or understand in another way than people."""
    with pytest.raises(Permanent) as caught:
        read(changed(there, (old, new)))
    assert caught.value.reason is Reason.FORMAT_BROKEN
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(ENTRY))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a.tif", Reason.UNSAFE_PATH),
        ("/etc/passwd", Reason.UNSAFE_PATH),
        ("http://example.org/a.tif", Reason.UNSAFE_PATH),
        ("sub\\a.tif", Reason.UNSAFE_PATH),
        ("a?b.tif", Reason.NAME_REFUSED),
    ],
)
def test_a_file_outside_the_plate_is_refused_with_its_line(there: Memory, name: str, reason: Reason) -> None:
    """Names stand in a file that anybody may have written."""
    with pytest.raises(Permanent, match=r"P1\.xdce, line \d+ in <Image>") as caught:
        read(changed(there, ("A - 1(fld 1 wv DAPI - DAPI).tif", name)))
    assert caught.value.reason is reason


@pytest.mark.parametrize("bound", ["MAX_IMAGES", "MAX_FIELDS", "MAX_WAVES"])
def test_an_xdce_is_bounded(there: Memory, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Nobody makes the host keep millions."""
    monkeypatch.setattr(stack, bound, 1)
    with pytest.raises(Permanent) as caught:
        read(there)
    assert caught.value.reason is Reason.FORMAT_BROKEN


def test_no_time_point_too_many_is_kept(there: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above."""
    monkeypatch.setattr(stack, "MAX_STEPS", 1)
    with pytest.raises(Permanent, match="more than 1 time points"):
        read(changed(there, ("<Times>", '<Times><TimePoint index="9"/>')))


def test_an_xdce_that_bioformats_does_not_recognise_is_unsupported(there: Memory) -> None:
    """It looks at 2048 bytes, and takes no file that has fewer."""
    text = there.files[str(ENTRY)].decode("latin-1")
    short = "".join(line for line in text.splitlines(keepends=True) if "AutoFocus" not in line)
    first = short[: short.index("    <Image ")]
    image = short[short.index("    <Image ") :].splitlines(keepends=True)[0]
    only = f"{first}{image}</Images></ImageStack>"
    assert len(only) < 2048
    there.put(str(ENTRY), only.encode("latin-1"))
    with pytest.raises(Permanent, match="smaller than 2048 bytes") as caught:
        read(there)
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["P1.xdce", "a.tif"], "P1.xdce"),
        (["P1.XDCE"], "P1.XDCE"),
        ([".P1.xdce"], None),
        (["P1.xdce.tmp", "a.tif"], None),
        (["P1.xml"], None),
    ],
)
def test_the_entry_of_a_plate_is_found(there: Memory, names: list[str], found: str | None) -> None:
    """By its XDCE or its folder."""
    content = there.files[str(ENTRY)]
    other = Memory({f"p/{name}": content for name in names})
    assert FORMAT.find_entry(PurePosixPath("p"), other) == (PurePosixPath("p", found) if found else None)
    assert FORMAT.find_entry(PurePosixPath("p", names[0]), other) == (PurePosixPath("p", found) if found else None)


def test_of_two_plates_in_a_folder_one_must_be_named(there: Memory) -> None:
    """Nobody wants half of what was acquired; each is found by its XDCE."""
    there.put("P1/P2.xdce", there.files[str(ENTRY)])
    with pytest.raises(Permanent, match="name the XDCE of the one") as caught:
        FORMAT.find_entry(PurePosixPath("P1"), there)
    assert caught.value.reason is Reason.UNKNOWN_FORMAT
    assert FORMAT.find_entry(ENTRY, there) == ENTRY


def test_what_is_called_so_and_is_none_is_no_plate() -> None:
    """Other programs may have files of this ending, too."""
    assert FORMAT.find_entry(PurePosixPath("p"), Memory({"p/x.xdce": b"<other/>"})) is None
    assert FORMAT.find_entry(PurePosixPath("p"), Memory({"p/x.xdce": b""})) == PurePosixPath("p/x.xdce")


@given(st.binary(max_size=30), st.integers(0, 4000))
@examples(max_examples=100, deadline=None)
def test_no_bytes_break_the_parser_in_another_way(made: InCellPlate, junk: bytes, place: int) -> None:
    """Whatever stands in an XDCE, it is read or refused by an error of the fleet."""
    whole = made.entry.read_bytes()
    there = Memory({str(ENTRY): whole[:place] + junk + whole[place:]})
    try:
        plate = FORMAT.read(ENTRY, there)
    except FleetError:
        return
    assert plate.files[0] == str(ENTRY)
