"""OME-Zarr plates: what their metadata says, which chunks are missed and which are not, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason
from fleet_common.plates import End, Plate, Sizes, detect, odd_sizes, problems
from fleet_common.plates.omezarr import OmeZarrFormat, layout, store
from fleet_stack.plates import PlateSpec
from fleet_stack.plates.omezarr import Options, make_omezarr
from support.memory import Memory

FORMAT = OmeZarrFormat()
FOLDER = PurePosixPath("P1.zarr")
SPEC = PlateSpec(name="P1", wells=2, fields=2, channels=2, planes=2, timepoints=2, size=8)
VERSIONS = ("0.4", "0.5")


def a_plate(root: Path, options: Options, spec: PlateSpec = SPEC) -> Memory:
    """A plate of the spec in memory."""
    make_omezarr(root, spec, options)
    return Memory.of(root)


@pytest.fixture(params=VERSIONS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Memory:
    """A plate of either version."""
    return a_plate(tmp_path, Options(request.param))


def read(there: Memory) -> Plate:
    """Find and read the plate."""
    entry = FORMAT.find_entry(FOLDER, there)
    assert entry is not None
    return FORMAT.read(entry, there)


def chunk(there: Memory, place: str) -> str:
    """The path of a chunk of the first field of the first well, for either version."""
    return f"{FOLDER}/A/1/0/0/{'c/' if f'{FOLDER}/zarr.json' in there.files else ''}{place}"


def edit(there: Memory, group: str, **changes: Any) -> Memory:
    """Change what a group says of itself; None takes a field away."""
    v3 = f"{FOLDER}/zarr.json" in there.files
    path = str(FOLDER / group / ("zarr.json" if v3 else ".zattrs"))
    content = json.loads(there.files[path])
    attributes = content["attributes"]["ome"] if v3 else content
    (name,) = set(attributes) & {"plate", "well", "multiscales"}
    part = attributes[name][0] if name == "multiscales" else attributes[name]
    for key, value in changes.items():
        part[key] = value
        if value is None:
            del part[key]
    there.put(path, json.dumps(content).encode())
    return there


def test_a_plate_tells_what_its_metadata_knows(there: Memory) -> None:
    """Name, extent, wells, fields, channels and sizes; neither barcode nor operator, and no end."""
    plate = read(there)
    assert plate.expected is not None
    assert (plate.expected.name, plate.expected.barcode) == ("P1", "")
    assert (plate.expected.rows, plate.expected.columns) == (8, 12)
    assert plate.expected.channels == ("DAPI", "FITC")
    assert plate.expected.sizes == Sizes(8, 8, 2, 2, 2)
    assert (plate.expected.wells, plate.expected.fields_per_well) == (frozenset({(0, 0), (0, 1)}), 2)
    assert (plate.identity, plate.end, plate.warnings) == ("", End.UNKNOWN, ())
    assert plate.reader == "loci.formats.in.ZarrReader"


def test_a_server_needs_a_reader_that_is_no_part_of_bioformats(tmp_path: Path) -> None:
    """That of 0.4 was last made for 7.3.1; of 0.5 none was found, so that every server is too old."""
    needs = [read(a_plate(tmp_path / version, Options(version))).needs_bioformats for version in VERSIONS]
    assert needs[0] == (7, 3, 1)
    assert needs[1] > (90,)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("separator", ["/", "."])
def test_chunks_may_be_called_in_several_ways(tmp_path: Path, version: str, separator: str) -> None:
    """In folders, or with dots."""
    there = a_plate(tmp_path, Options(version, separator))
    plate = read(there)
    assert problems(plate, there.sizes) == ()
    assert plate.warnings == ()
    assert set(plate.files) == set(there.files)


def test_shards_are_the_files_of_an_array(tmp_path: Path) -> None:
    """Given all channels of a plane in one shard; then one lost file is two lost planes."""
    there = a_plate(tmp_path, Options("0.5", shards=True))
    plate = read(there)
    assert problems(plate, there.sizes) == ()
    assert len(plate.planes) == 32
    assert len({plane.path for plane in plate.planes}) == 16
    assert plate.expected is not None
    assert plate.expected.planes == 32

    lost = f"{FOLDER}/A/2/1/0/c/1/0/1/0/0"
    there.remove(lost)
    plate = read(there)
    assert [problem.path for problem in problems(plate, there.sizes)] == [lost]
    assert [plane.where for plane in plate.planes if plane.path == lost] == [
        f"well A02, field 2, channel {channel}, plane 2, time point 2" for channel in (1, 2)
    ]


def test_a_plane_without_any_chunk_is_missed(there: Memory) -> None:
    """The format allows it and reads it as a fill value; a camera never writes it."""
    lost = chunk(there, "1/0/1/0/0")
    there.remove(lost)
    plate = read(there)
    (problem,) = problems(plate, there.sizes)
    assert str(problem) == f"{lost} is missing (well A01, field 1, channel 1, plane 2, time point 2)"
    assert plate.warnings == (
        "well A01, field 1: 1 of 8 chunks of the resolution 0 are absent and read as a fill value",
    )


def test_a_chunk_of_a_plane_that_has_others_is_a_warning(there: Memory) -> None:
    """Given planes of four chunks, of which one was never written; then nothing is missing."""
    for path, content in list(there.files.items()):
        array = json.loads(content) if path.endswith((".zarray", "/0/0/zarr.json")) else {}
        if "chunks" in array:
            array["chunks"] = [1, 1, 1, 4, 4]
        elif "chunk_grid" in array:
            array["chunk_grid"]["configuration"]["chunk_shape"] = [1, 1, 1, 4, 4]
        if array:
            there.put(path, json.dumps(array).encode())
        elif path.endswith("/0/0") and path.count("/") > 6:
            for place in ("0/1", "1/0", "1/1"):
                there.put(f"{path.removesuffix('0/0')}{place}", content)
    assert read(there).warnings == ()
    there.remove(chunk(there, "0/0/0/0/0"))
    plate = read(there)
    assert problems(plate, there.sizes) == ()
    assert len(plate.planes) == 32
    assert plate.warnings == (
        "well A01, field 1: 1 of 32 chunks of the resolution 0 are absent and read as a fill value",
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chunk_of_a_smaller_resolution_is_a_warning(tmp_path: Path, version: str) -> None:
    """It can be made again."""
    there = a_plate(tmp_path, Options(version, levels=2))
    assert read(there).warnings == ()
    there.remove(chunk(there, "0/0/0/0/0").replace("/1/0/0/", "/1/0/1/"))
    plate = read(there)
    assert problems(plate, there.sizes) == ()
    assert plate.warnings == (
        "well A01, field 1: 1 of 8 chunks of the resolution 1 are absent and read as a fill value",
    )


def test_an_image_of_another_type_is_a_warning(there: Memory) -> None:
    """OMERO would show it, but no instrument means it; how the bytes of a number are ordered makes no other type."""
    old, other, swapped = (
        ("uint16", "float32", "uint16") if any("/c/" in path for path in there.files) else ("<u2", "<f4", ">u2")
    )
    name = "zarr.json" if old == "uint16" else ".zarray"
    there.change(f"{FOLDER}/A/1/0/0/{name}", (f'"{old}"', f'"{swapped}"'))
    assert read(there).warnings == ()
    there.change(f"{FOLDER}/A/1/1/0/{name}", (f'"{old}"', f'"{other}"'))
    (warning,) = read(there).warnings
    assert warning == f"well A01, field 2: its pixels are {other.lstrip('<')} instead of {old.lstrip('<')}"


def test_a_chunk_of_another_size_is_named_when_asked_for(there: Memory) -> None:
    """A cut chunk reads as noise, and only the user knows whether chunks are compressed and so may differ in size."""
    cut = chunk(there, "1/1/1/0/0")
    there.put(cut, there.files[cut][:-1])
    (odd,) = odd_sizes(read(there), there.sizes)
    assert (odd.path, odd.where) == (cut, "well A01, field 1, channel 2, plane 2, time point 2")


def test_many_warnings_are_shortened(there: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse plate has thousands."""
    monkeypatch.setattr(layout, "MAX_WARNINGS", 1)
    for path in [path for path in there.files if path.endswith("/1/1/1/0/0")]:
        there.remove(path)
    assert read(there).warnings[1:] == ("3 more of fields and resolutions",)


def test_every_file_of_the_tree_belongs_to_the_plate(there: Memory) -> None:
    """Labels and OME-XML, too: the reader takes them all; the order is the same wherever it is listed."""
    for name in ("OME/METADATA.ome.xml", ".zmetadata", "A/1/0/labels/cells/0/0.0"):
        there.put(f"{FOLDER}/{name}", b"x")
    plate = read(there)
    assert set(plate.files) == set(there.files)
    assert plate.files[0] == plate.entry
    assert list(plate.files[1:]) == sorted(plate.files[1:])


def test_a_file_that_a_writer_has_not_finished_keeps_the_plate_running(there: Memory) -> None:
    """zarr-python writes beside a file and then renames it."""
    there.put(f"{FOLDER}/A/1/0/0/0.0f3b.partial", b"x")
    plate = read(there)
    assert plate.end is End.RUNNING
    assert not any(path.endswith(".partial") for path in plate.files)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_acquisition_with_an_end_has_ended(tmp_path: Path, version: str) -> None:
    """Few writers tell it; of two acquisitions both must."""
    there = a_plate(tmp_path, Options(version, ended=True))
    assert read(there).end is End.ENDED
    edit(there, "", acquisitions=[{"id": 0, "endtime": 2}, {"id": 1, "starttime": 1}])
    assert read(there).end is End.UNKNOWN


@pytest.mark.parametrize("lost", ["A", "A/1", "A/1/0", "A/1/0/0"])
def test_missing_metadata_is_missed_and_leaves_the_rest_known(there: Memory, lost: str) -> None:
    """A writer makes groups as it goes; nothing is expected until all of them are there."""
    names = (".zgroup", ".zattrs", ".zarray", "zarr.json")
    gone = [str(FOLDER / lost / name) for name in names if str(FOLDER / lost / name) in there.files]
    assert gone
    for path in gone:
        there.remove(path)
    plate = read(there)
    assert {problem.path for problem in problems(plate, there.sizes)} == set(gone)
    assert (plate.expected is None) == (lost != "A")


def test_empty_metadata_is_missed_too(there: Memory) -> None:
    """It was just created."""
    (path,) = [path for path in there.files if path.endswith(("A/1/0/0/.zarray", "A/1/0/0/zarr.json"))]
    there.put(path, b"")
    plate = read(there)
    assert [str(problem) for problem in problems(plate, there.sizes)] == [f"{path} is empty"]
    assert len(plate.planes) == 24


def test_wells_that_differ_in_their_fields_are_not_expected(there: Memory) -> None:
    """The files are checked all the same."""
    plate = read(edit(there, "A/2", images=[{"path": "0"}]))
    assert plate.expected is None
    assert len(plate.planes) == 24
    assert problems(plate, there.sizes) == ()


def test_axes_may_be_fewer(there: Memory, tmp_path: Path) -> None:
    """A field of c, y and x has one plane and one time point."""
    spec = dataclasses.replace(SPEC, wells=1, fields=1, planes=1, timepoints=1)
    flat = a_plate(tmp_path / "flat", Options("0.4"), spec)
    edit(flat, "A/1/0", axes=[{"name": axis} for axis in "cyx"])
    array = json.loads(flat.files[f"{FOLDER}/A/1/0/0/.zarray"]) | {"shape": [2, 8, 8], "chunks": [1, 8, 8]}
    flat.put(f"{FOLDER}/A/1/0/0/.zarray", json.dumps(array).encode())
    for channel in range(2):
        flat.put(f"{FOLDER}/A/1/0/0/{channel}/0/0", b"x")
        flat.remove(f"{FOLDER}/A/1/0/0/0/{channel}/0/0/0")
    plate = read(flat)
    assert plate.expected is not None
    assert plate.expected.sizes == Sizes(8, 8, 1, 2, 1)
    assert problems(plate, flat.sizes) == ()
    assert there.files


def test_a_folder_of_another_name_is_a_warning(there: Memory) -> None:
    """Bio-Formats knows a Zarr by its path."""
    other = Memory({path.replace("P1.zarr", "plate"): content for path, content in there.files.items()})
    entry = FORMAT.find_entry(PurePosixPath("plate"), other)
    assert entry is not None
    (warning,) = FORMAT.read(entry, other).warnings
    assert "*.zarr" in warning


def test_images_and_other_folders_are_no_plates(there: Memory) -> None:
    """Only the top of a plate is one; a Zarr of one image is left to others."""
    for group in ("A", "A/1", "A/1/0", "A/1/0/0"):
        assert FORMAT.find_entry(FOLDER / group, there) is None
    assert FORMAT.find_entry(PurePosixPath("p"), Memory({"p/a.tif": b"x"})) is None
    assert FORMAT.find_entry(PurePosixPath("p"), Memory({"p/.zattrs": b""})) is None
    assert FORMAT.find_entry(PurePosixPath("p.zarr"), Memory({"p.zarr/.zattrs": b""})) is not None
    assert detect(FOLDER, there)[0].name == "ome-zarr"
    entry = FORMAT.find_entry(FOLDER, there)
    assert entry is not None
    assert FORMAT.find_entry(entry, there) == entry


@pytest.mark.parametrize(
    ("group", "changes", "words"),
    [
        ("", {"wells": []}, "wells"),
        ("", {"wells": [{"path": "A/1", "rowIndex": 0}]}, "columnindex"),
        ("", {"wells": [{"path": "A/1", "rowIndex": -1, "columnIndex": 0}]}, "rowindex"),
        ("", {"wells": [{"path": "A/1", "rowIndex": 9, "columnIndex": 0}]}, "lies outside its 8 x 12 wells"),
        ("", {"wells": [{"path": path, "rowIndex": 0, "columnIndex": 0} for path in ("A/1", "A/2")]}, "are the same"),
        ("", {"wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": n} for n in (0, 1)]}, "are the same"),
        ("", {"rows": None}, "rows: field required"),
        ("", {"version": "0.9"}, "version"),
        ("A/1", {"images": []}, "images"),
        ("A/1/0", {"datasets": []}, "datasets"),
        ("A/1/0", {"axes": [{"name": "q"}, {"name": "x"}]}, "axes"),
        ("A/1/0", {"axes": [{"name": "y"}, {"name": "x"}]}, "has 5 dimensions"),
        ("A/1/0", {"axes": [{"name": axis} for axis in "tczxy"]}, "planes must be the last two"),
        ("A/1/0", {"axes": [{"name": axis} for axis in "tcyyx"]}, "planes must be the last two"),
    ],
)
def test_wrong_metadata_is_refused(there: Memory, group: str, changes: dict[str, Any], words: str) -> None:
    """By its file and field."""
    with pytest.raises(Permanent) as caught:
        read(edit(there, group, **changes))
    assert caught.value.reason is Reason.FORMAT_BROKEN
    assert words in str(caught.value).lower()
    assert str(caught.value).startswith(f"{FOLDER}/{group}".rstrip("/"))


@pytest.mark.parametrize(
    "array",
    [
        b"{",
        b"[]",
        b'{"zarr_format": 1}',
        b'{"zarr_format": 2, "shape": [1, 1, 1, 8, 8], "chunks": [1, 1, 8, 8]}',
        b'{"zarr_format": 2, "shape": [1, 1, 1, 8, 8], "chunks": [1, 1, 1, 8, 0]}',
        b'{"zarr_format": 2, "shape": [1, 1, 1, 8, 99999999], "chunks": [1, 1, 1, 8, 8]}',
        b'{"zarr_format": 2, "shape": [1, 1, 1, 8, 8], "chunks": [1, 1, 1, 8, 8], "dimension_separator": ":"}',
        b'{"zarr_format": 2, "shape": [10000000, 1, 1, 8, 8], "chunks": [1, 1, 1, 1, 1]}',
        b"[" * 100_000,
    ],
)
def test_a_wrong_array_is_refused(tmp_path: Path, array: bytes) -> None:
    """Whatever it says, nobody makes the host keep millions of chunks."""
    there = a_plate(tmp_path, Options("0.4"))
    there.put(f"{FOLDER}/A/1/0/0/.zarray", array)
    with pytest.raises(Permanent) as caught:
        read(there)
    assert caught.value.reason is Reason.FORMAT_BROKEN


@pytest.mark.parametrize(
    ("path", "reason"),
    [("../A/1", Reason.UNSAFE_PATH), ("/etc", Reason.UNSAFE_PATH), ("A/1?", Reason.NAME_REFUSED)],
)
def test_a_path_that_leaves_the_plate_is_refused(there: Memory, path: str, reason: Reason) -> None:
    """Paths stand in files that anybody may have written."""
    with pytest.raises(Permanent) as caught:
        read(edit(there, "", wells=[{"path": path, "rowIndex": 0, "columnIndex": 0}]))
    assert caught.value.reason is reason


@pytest.mark.parametrize(("bound", "value"), [("MAX_FILES", 10), ("MAX_DEPTH", 3), ("MAX_JSON_BYTES", 10)])
def test_a_plate_is_bounded(there: Memory, monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    """Neither files, nor folders in folders, nor metadata without end."""
    monkeypatch.setattr(store, bound, value)
    with pytest.raises(Permanent) as caught:
        read(there)
    assert caught.value.reason is Reason.FORMAT_BROKEN


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The metadata at the top, by the name of its file."""
    made = [make_omezarr(tmp_path_factory.mktemp("whole"), SPEC, Options(version)).entry for version in VERSIONS]
    return {path.name: path.read_bytes() for path in made}


@given(st.binary(max_size=30), st.integers(0, 1500), st.booleans())
@examples(max_examples=100, deadline=None)
def test_no_bytes_break_the_parser_in_another_way(
    entries: dict[str, bytes],
    junk: bytes,
    place: int,
    first: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    """Whatever stands in the metadata, it is read or refused by an error of the fleet."""
    name, whole = list(entries.items())[first]
    entry = FOLDER / name
    try:
        plate = FORMAT.read(entry, Memory({str(entry): whole[:place] + junk + whole[place:]}))
    except FleetError:
        return
    assert plate.files[0] == str(entry)
