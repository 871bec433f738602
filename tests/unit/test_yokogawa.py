"""Yokogawa measurements: what is read of a good one, and what is refused in a bad one."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fleet_common.errors import FleetError, Permanent, Reason, Transient
from fleet_common.plates import End, Plate, Sizes, boundedxml, plate_format, problems, tiff, xmlstream
from fleet_common.plates.yokogawa import layout, records
from support.yokogawa import (
    DATA,
    DETAIL,
    ENTRY,
    FOLDER,
    FORMAT,
    SETTINGS,
    WPI,
    XMLNS,
    Folder,
    data,
    detail,
    folder,
    read,
    record,
    settings,
)


def image(width: int = 16, height: int = 8, *, order: str = "<", big: bool = False, gap: int = 0) -> bytes:
    """The head of a TIFF, its directory after a gap."""
    head = {"<": b"II", ">": b"MM"}[order]
    if big:
        at = 16 + gap
        tags = [struct.pack(f"{order}HHQQ", tag, 16, 1, value) for tag, value in ((256, width), (257, height))]
        return (
            head + struct.pack(f"{order}HHHQ", 43, 8, 0, at) + bytes(gap) + struct.pack(f"{order}Q", 2) + b"".join(tags)
        )
    short = [struct.pack(f"{order}HHIHH", 256, 3, 1, width, 0), struct.pack(f"{order}HHII", 257, 4, 1, height)]
    other = struct.pack(f"{order}HHII", 254, 4, 1, 0)
    directory = struct.pack(f"{order}H", 3) + other + b"".join(short)
    return head + struct.pack(f"{order}HI", 42, 8 + gap) + bytes(gap) + directory


def refusal(there: Folder, reason: Reason = Reason.FORMAT_BROKEN) -> str:
    """The error of a measurement."""
    with pytest.raises(Permanent) as caught:
        read(there)
    assert caught.value.reason is reason, caught.value
    return str(caught.value)


def test_a_plate_tells_who_measured_what_and_when() -> None:
    """Everything that routing and provenance need."""
    plate = read(folder(data(record())))
    assert plate.expected is not None
    assert (plate.expected.name, plate.expected.barcode) == ("P1", "B1")
    assert (plate.expected.rows, plate.expected.columns) == (8, 12)
    assert (plate.identity, plate.started_at) == ("P1/B1@2026-01-01T10:00:00+01:00", "2026-01-01T10:00:00+01:00")
    assert (plate.operator, plate.instrument, plate.end) == ("alice", "CV8000", End.ENDED)
    assert (plate.format, plate.entry, plate.reader) == ("yokogawa", str(ENTRY), "loci.formats.in.CV7000Reader")
    assert plate.needs_bioformats == ()
    assert plate_format("yokogawa").name == "yokogawa"


def test_the_files_are_the_entry_and_then_the_folder_in_the_order_of_java() -> None:
    """Whatever lies there, but nothing hidden; a file that is named but missing stands where it would be."""
    there = folder(
        data(record("m.tif")),
        others={"a.txt": b"x", ".hidden": b"x", "\N{GRINNING FACE}": b"x", "\N{FULLWIDTH LATIN SMALL LETTER A}": b"x"},
    )
    names = ["P1.wpi", DATA, DETAIL, "a.txt", "m.tif", "p.wpp", SETTINGS]
    names += ["\N{GRINNING FACE}", "\N{FULLWIDTH LATIN SMALL LETTER A}"]
    assert read(there).files == tuple(f"hcs/P1/{name}" for name in names)


def test_planes_are_in_the_order_of_the_reader_whatever_the_order_of_acquisition() -> None:
    """Wells, fields, time points, planes, channels; all from 0."""
    mlf = data(
        record("f.tif", Row=2, Column=3),
        record("e.tif", TimePoint=2),
        record("d.tif", ZIndex=2, Ch=2),
        record("c.tif", ZIndex=2),
        record("b.tif", Ch=2),
        record("a.tif"),
    )
    plate = read(folder(mlf, mrf=detail((1, 2)), mes=settings([[1, 2]])))
    assert [(tuple(plane[:6]), plane.path) for plane in plate.planes] == [
        ((0, 0, 0, 0, 0, 0), "hcs/P1/a.tif"),
        ((0, 0, 0, 0, 0, 1), "hcs/P1/b.tif"),
        ((0, 0, 0, 0, 1, 0), "hcs/P1/c.tif"),
        ((0, 0, 0, 0, 1, 1), "hcs/P1/d.tif"),
        ((0, 0, 0, 1, 0, 0), "hcs/P1/e.tif"),
        ((1, 2, 0, 0, 0, 0), "hcs/P1/f.tif"),
    ]
    assert plate.expected is not None
    assert plate.expected.channels == ("Channel #1, Camera #11", "Channel #2, Camera #12")


def test_wells_have_every_field_of_the_plate_and_planes_of_their_own() -> None:
    """Bio-Formats makes blank fields where none was acquired, but counts planes, channels and times per well."""
    mlf = data(
        *(record(f"{z}.tif", ZIndex=z, TimePoint=t) for z, t in ((1, 1), (2, 1), (3, 1), (4, 2))),
        record("b.tif", Column=2, FieldIndex=3, ZIndex=7, TimePoint=5),
        record("c.tif", Column=2, FieldIndex=3, ZIndex=8, TimePoint=5, Ch=2),
        record("d.tif", Column=3),
    )
    expected = read(folder(mlf, mrf=detail((1, 2)), mes=settings([[1, 2]]))).expected
    assert expected is not None
    assert expected.wells == {(0, 0), (0, 1), (0, 2)}
    assert expected.fields_per_well == 3
    assert expected.sizes_of((0, 0, 2)) == Sizes(20, 10, 4, 1, 2)
    assert expected.sizes_of((0, 1, 0)) == Sizes(20, 10, 2, 2, 1)
    assert expected.sizes_of((0, 2, 1)) == Sizes(20, 10, 1, 1, 1)
    assert (expected.images, expected.planes) == (9, 3 * (8 + 4 + 1))


def test_planes_and_time_points_are_counted_from_the_first_of_their_well() -> None:
    """Given a well that was acquired later and higher than others; then its first plane is its plane 1."""
    plate = read(folder(data(record(), record("b.tif", Column=2, ZIndex=7, TimePoint=5))))
    assert [tuple(plane[:6]) for plane in plate.planes] == [(0, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0)]


def test_the_usual_sizes_are_those_of_most_wells() -> None:
    """So that an odd first well costs three entries and not a thousand."""
    mlf = data(record("a.tif", ZIndex=1), record("b.tif", ZIndex=2), *(record(f"{n}.tif", Row=n) for n in range(2, 6)))
    expected = read(folder(mlf)).expected
    assert expected is not None
    assert expected.sizes == Sizes(20, 10, 1, 1, 1)
    assert expected.other_sizes == {(0, 0, 0): Sizes(20, 10, 2, 1, 1)}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("gap", [0, 200_000])
def test_the_extent_is_that_of_the_first_image_that_is_there(order: str, big: bool, gap: int) -> None:  # noqa: FBT001  a parameter of the test
    """Wherever its directory is; what the .mrf says counts only as long as there is none."""
    mlf = data(record("b.tif"), record("a.tif", Column=2), record("c.tif", Column=3))
    there = folder(mlf, others={"a.tif": image(16, 8, order=order, big=big, gap=gap), "c.tif": image(99, 99)})
    expected = read(there).expected
    assert expected is not None
    assert expected.sizes[:2] == (16, 8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"II",
        b"not a TIFF",
        image()[:-9],
        image(gap=100)[:50],
        image(width=0),
        b"II*\0\x00\x00\x00\x00",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        image().replace(struct.pack("<HH", 256, 3), struct.pack("<HH", 256, 5)),
    ],
)
def test_an_image_that_cannot_be_measured_leaves_the_extent_of_the_mrf(content: bytes) -> None:
    """Whether an image is whole is for another check; this one needs only a number."""
    expected = read(folder(data(record()), others={"a.tif": content})).expected
    assert expected is not None
    assert expected.sizes[:2] == (20, 10)


def test_without_any_extent_nothing_is_expected() -> None:
    """A guess would fail a good import."""
    mrf = detail().replace('bts:HorizontalPixels="20"', "")
    plate = read(folder(data(record()), mrf=mrf))
    assert plate.expected is None
    assert len(plate.planes) == 1


def test_a_directory_beyond_the_end_is_no_directory() -> None:
    """A hostile offset makes nobody read terabytes."""
    with pytest.raises(tiff.NotTiff, match="it ends after 4294967295 bytes"):
        tiff.extent(Folder({"a": b"II*\0\xff\xff\xff\xff"}).open(FOLDER / "a"))
    with pytest.raises(tiff.NotTiff, match="refers to the offset"):
        tiff.extent(Folder({"a": b"II\x2b\0\x08\0\0\0" + b"\xff" * 8}).open(FOLDER / "a"))


def test_errors_of_the_instrument_are_told_apart_from_images() -> None:
    """They say well and time; field, channel and plane only where the instrument knows them."""
    plate = read(
        folder(
            data(
                record(),
                record("AF Error at C14 No. 0 (P1)", Type="ERR", Row=3, Column=12, leave="FieldIndex")
                .replace(' bts:ZIndex="1"', "")
                .replace(' bts:Ch="1"', ""),
                record("", Type="ERR", FieldIndex=2, Ch=4, ZIndex=3, TimePoint=5),
                record("x" * 1000, Type="other"),
            )
        )
    )
    assert [(error.where, error.state) for error in plate.errors] == [
        ("well C12, time point 1", "AF Error at C14 No. 0 (P1)"),
        ("well A01, field 2, channel 4, plane 3, time point 5", "ERR"),
        ("well A01, field 1, channel 1, plane 1, time point 1", "x" * 200),
    ]
    assert plate.expected is not None
    assert plate.expected.wells == {(0, 0)}
    assert len(plate.planes) == 1


def test_a_record_without_a_file_is_a_fault_of_the_acquisition() -> None:
    """Bio-Formats makes a blank plane of it; no copy can bring it back."""
    plate = read(folder(data(record(), record(" ", FieldIndex=2)), others={"a.tif": image()}))
    assert [(error.where, error.state) for error in plate.errors] == [
        ("well A01, field 2, channel 1, plane 1, time point 1", "its record names no file")
    ]
    assert [plane.path for plane in plate.planes] == ["hcs/P1/a.tif", None]
    assert plate.needs_bioformats == ()


def test_a_well_without_any_file_needs_a_newer_reader() -> None:
    """Bio-Formats 6.7 would put the images of all later wells into other wells (ome/bioformats#4005)."""
    plate = read(folder(data(record(), record("", Column=2), record("c.tif", Column=3))))
    assert plate.needs_bioformats == layout.READS_EVERY_LAYOUT
    assert plate.expected is not None
    assert plate.expected.wells == {(0, 0), (0, 2)}


@pytest.mark.parametrize("end", ["", " "])
def test_a_measurement_without_its_end_is_running(end: str) -> None:
    """The instrument writes the end when it is done."""
    plate = read(folder(data(record()), mrf=detail(end=end)))
    assert plate.end is End.RUNNING
    assert plate.expected is not None


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("name", [DATA, DETAIL, SETTINGS, "p.wpp", "a.tif", "shade.tif"])
def test_what_is_not_there_yet_is_missing_and_not_corrupt(name: str, empty: bool) -> None:  # noqa: FBT001  a parameter of the test
    """Given a copy that is under way; then every file that is known is named, and one may look again later."""
    there = folder(data(record()), mrf=detail(shading="shade.tif"), others={"a.tif": image(), "shade.tif": b"x"})
    if empty:
        there.files[name] = b""
    else:
        del there.files[name]
    plate = read(there)
    (problem,) = problems(plate, there.sizes)
    assert (problem.path, problem.problem) == (f"hcs/P1/{name}", "empty" if empty else "missing")
    assert problem.where == ("well A01, field 1, channel 1, plane 1, time point 1" if name == "a.tif" else "")


def test_planes_are_named_before_the_settings_are_there() -> None:
    """With the numbers of the instrument, so that progress can be shown."""
    there = folder(data(record("b.tif", Ch=2), record()), mrf=detail((1, 2)))
    del there.files[SETTINGS]
    plate = read(there)
    assert plate.expected is None
    assert [(plane.c, plane.path) for plane in plate.planes] == [(0, "hcs/P1/a.tif"), (1, "hcs/P1/b.tif")]


def test_a_measurement_that_has_not_begun_is_looked_at_again() -> None:
    """Given records of errors only; then the end of the measurement decides whether that is all."""
    nothing = data(record("AF Error", Type="ERR"), record(""))
    with pytest.raises(Transient, match=r"lists no image, and 1 errors of the instrument.*look again later") as caught:
        read(folder(nothing, mrf=detail(end="")))
    assert caught.value.reason is Reason.MANIFEST_DIFFERS
    assert "nothing was acquired" in refusal(folder(nothing))


def channels_of(plate: Plate) -> list[int]:
    """The channel of each file in the order of names."""
    return [plane.c for plane in sorted(plate.planes, key=lambda plane: plane.path or "")]


def acquired(*channels: tuple[int, int]) -> str:
    """Records of (action, channel), each with a file of its own."""
    return data(*(record(f"{n}.tif", ActionIndex=action, Ch=ch) for n, (action, ch) in enumerate(channels)))


@pytest.mark.parametrize(
    ("defined", "actions", "records_", "places", "size", "needs"),
    [
        ((1, 2, 3), [[1, 2, 3]], ((1, 1), (1, 2), (1, 3)), [0, 1, 2], 3, ()),
        ((3, 2, 1), [[1, 2, 3]], ((1, 1), (1, 2), (1, 3)), [0, 1, 2], 3, ()),
        # however the .mrf sorts them
        ((3, 1, 2), [[1], [2], [3]], ((1, 1), (2, 2), (3, 3)), [0, 1, 2], 3, ()),
        # channels are counted action by action
        ((1, 2, 3), [[2, 3], [1]], ((1, 2), (1, 3), (2, 1)), [0, 1, 2], 3, ()),
        # a gap is a blank channel in 6.7
        ((1, 2, 3), [[1, 2, 3]], ((1, 1), (1, 3)), [0, 2], 3, ()),
        # settings without a word of actions: all channels count as of the first one
        ((1, 2), [], ((1, 1), (1, 2)), [0, 1], 2, ()),
        # 6.7 fails: the first acquired channel is not the first defined
        ((1, 2, 3), [[2, 3]], ((1, 2), (1, 3)), [0, 1], 2, (7, 3, 1)),
        # 6.7 loses one: the same channel in two actions
        ((1, 2), [[1, 2], [1]], ((1, 1), (1, 2), (2, 1)), [0, 1, 2], 3, (7, 3, 1)),
    ],
)
def test_channels_are_numbered_as_bioformats_numbers_them(  # noqa: PLR0917  one column of the table each
    defined: tuple[int, ...],
    actions: list[list[int]],
    records_: tuple[tuple[int, int], ...],
    places: list[int],
    size: int,
    needs: tuple[int, ...],
) -> None:
    """Not as the instrument does; where 6.7 loses a plane, the plate says which newer one it needs."""
    mes = settings(actions) if actions else settings()
    plate = read(folder(acquired(*records_), mrf=detail(defined), mes=mes))
    assert channels_of(plate) == places
    assert plate.needs_bioformats == needs
    assert plate.expected is not None
    assert plate.expected.sizes.c == size == len(plate.expected.channels)


def test_a_channel_that_was_not_acquired_has_no_name() -> None:
    """Bio-Formats 6.7 shows it blank."""
    expected = read(folder(acquired((1, 1), (1, 3)), mrf=detail((1, 2, 3)), mes=settings([[1, 2, 3]]))).expected
    assert expected is not None
    assert expected.channels == ("Channel #1, Camera #11", "", "Channel #3, Camera #13")


def test_timelines_have_channels_of_their_own() -> None:
    """A record finds its channel only among those of its timeline."""
    mlf = data(record("a.tif"), record("b.tif", TimelineIndex=2, TimePoint=2, Ch=2))
    plate = read(folder(mlf, mrf=detail((1, 2)), mes=settings([[1]], [[2]])))
    assert channels_of(plate) == [0, 0]
    assert plate.expected is not None
    assert plate.expected.sizes == Sizes(20, 10, 1, 1, 2)


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ([record(), record("b.tif")], 4, "same plane as in line 3, and Bio-Formats would drop one"),
        ([record(), record(Column=2)], 4, "its file 'a.tif' is already that of line 3"),
        ([record(Row=9)], 3, "well I01 is outside the plate of 8 x 12 wells"),
        ([record(Column=13)], 3, "well A13 is outside the plate"),
        ([record(Ch=2)], 3, "channel 2 is not among those that the settings give to action 1 of timeline 1"),
        ([record(ActionIndex=2), record("b.tif")], 3, "to action 2 of timeline 1"),
        ([record(leave="Type")], 3, "bts:Type is missing"),
        ([record(leave="Row")], 3, "bts:Row is missing"),
        ([record(leave="TimelineIndex")], 3, "bts:TimelineIndex is missing"),
        ([record(leave="X")], 3, "bts:X is missing, and Bio-Formats needs it"),
        ([record(Z="")], 3, "bts:Z is empty, and Bio-Formats needs it"),
        ([record(Row="one")], 3, "bts:Row is 'one', not a whole number"),
        ([record(Row="٣")], 3, "not a whole number"),
        ([record(Row=0)], 3, "bts:Row is 0, not within 1 and 256"),
        ([record(FieldIndex=10**8)], 3, "bts:FieldIndex is 100000000, not within"),
        ([record(Ch=1001)], 3, "bts:Ch is 1001, not within"),
        ([record("<b>a.tif</b>")], 3, "inside an element that holds only text"),
        ([record("x" * 5000)], 3, "longer than 4096 characters"),
        ([record(Type="ERR", leave="Row")], 3, "bts:Row is missing"),
        ([record("&undefined;")], 3, "undefined entity"),
        (["<a>" * 40 + "</a>" * 40], 3, "nested deeper than 32"),
        ([record(), "</x>"], 4, "mismatched tag"),
    ],
)
def test_a_wrong_record_is_refused_with_its_line(lines: list[str], line: int, words: str) -> None:
    """The person who exports again must find the place."""
    message = refusal(folder(data(*lines)))
    assert message.startswith(f"hcs/P1/{DATA}, line {line}"), message
    assert words in message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a.tif", Reason.UNSAFE_PATH),
        ("/etc/passwd", Reason.UNSAFE_PATH),
        ("sub\\a.tif", Reason.UNSAFE_PATH),
        ("http://host/a.tif", Reason.UNSAFE_PATH),
        ("D:a.tif", Reason.UNSAFE_PATH),
        ("CON.tif", Reason.NAME_REFUSED),
        ("sub/a.tif", Reason.UNSUPPORTED),
        (".a.tif", Reason.UNSUPPORTED),
    ],
)
def test_a_file_out_of_the_folder_is_refused_with_its_line(name: str, reason: Reason) -> None:
    """Everything that a file refers to goes through the one join, and Bio-Formats takes only this folder along."""
    assert refusal(folder(data(record(name))), reason).startswith(f"hcs/P1/{DATA}, line 3: ")
    assert f"{DETAIL}, line 4" in refusal(folder(data(record()), mrf=detail(shading=name)), reason)
    renamed = detail().replace(SETTINGS, name)
    assert f"{DETAIL}, line 1" in refusal(folder(data(record()), mrf=renamed), reason)


def test_a_neighbour_with_a_refused_name_is_refused() -> None:
    """It would be uploaded under another name."""
    refusal(folder(data(record()), others={"a:b.txt": b"x"}), Reason.NAME_REFUSED)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (DETAIL, 'bts:CameraNumber="11"', "bts:CameraNumber is missing"),
        (DETAIL, 'bts:HorizontalPixelDimension="0.65"', "bts:HorizontalPixelDimension is missing"),
        (DETAIL, f'bts:MeasurementSettingFileName="{SETTINGS}"', "bts:MeasurementSettingFileName is missing"),
        (DETAIL, 'bts:Ch="1"', "bts:Ch is missing"),
        ("P1.wpi", 'bts:Rows="8"', "bts:Rows is missing"),
        ("P1.wpi", 'bts:Columns="12"', "bts:Columns is missing"),
        (SETTINGS, "1</bts:Ch>", "mismatched tag"),
        (SETTINGS, "1", "bts:Ch is"),
    ],
)
def test_what_bioformats_cannot_do_without_is_required(old: str, new: str, words: str) -> None:
    """The reader would die of it on the server, long after the person has gone home."""
    there = folder(data(record()))
    head, _, body = there.files[old].partition(b"\n")
    assert new.encode() in body
    there.files[old] = head + b"\n" + body.replace(new.encode(), b"")
    message = refusal(there)
    assert message.startswith(f"hcs/P1/{old}, line ")
    assert words in message


@pytest.mark.parametrize("name", ["P1.wpi", DATA, DETAIL, SETTINGS])
def test_another_root_is_refused(name: str) -> None:
    """Somebody renamed another file."""
    there = folder(data(record()))
    there.files[name] = b"<html/>"
    assert f"hcs/P1/{name}, line 1 in <html>: the root element is <html>, not <bts:" in refusal(there)


ENTITIES = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE x>",
        "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>",
        "<!DOCTYPE x [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        f"<!DOCTYPE x [<!ENTITY e0 'ha'>{ENTITIES}]>",
        "<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://host/x'> %p;]>",
    ],
)
@pytest.mark.parametrize("name", ["P1.wpi", DATA, DETAIL, SETTINGS])
def test_a_doctype_is_refused_before_any_entity_is_read(doctype: str, name: str) -> None:
    """No file is read, no host asked, no memory filled."""
    there = folder(data(record("&e9;" if name == DATA else "a.tif")))
    there.files[name] = there.files[name].replace(b"\n<", f"\n{doctype}<".encode(), 1)
    assert f"hcs/P1/{name}, line 2: it has a DOCTYPE" in refusal(there)


@pytest.mark.parametrize("tail", [">", ">\r\n\r\n", "> \n\t"])
@pytest.mark.parametrize("pad", [0, boundedxml.CHUNK_BYTES - 300, boundedxml.CHUNK_BYTES - 100])
def test_a_lone_bracket_at_the_end_is_overlooked(tail: str, pad: int) -> None:
    """Instruments write it, and Bio-Formats drops it."""
    text = data(record(), f"<!--{'x' * pad}-->").rstrip()
    assert read(folder(text + tail)).planes
    assert "junk after document element" in refusal(folder(text + ">" + tail))


class Endless:
    """A file that begins as given and then repeats itself for ever."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self._rest = head
        self._body = body
        self.given = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        while len(self._rest) < size:
            self._rest += self._body
        chunk, self._rest = self._rest[:size], self._rest[size:]
        self.given += size
        return chunk


def test_a_tag_of_many_megabytes_is_refused_early() -> None:
    """Expat keeps a whole tag in memory; here it stops after a little more than the limit."""
    stream = Endless(b"<bts:MeasurementData x='", b"y" * 1000)
    with pytest.raises(Permanent, match="a tag or comment is longer than"):
        xmlstream.parse(stream, "x.mlf", records.MeasurementData())
    assert stream.given < 4 * boundedxml.MAX_TAG_BYTES


def test_a_plate_costs_little_memory() -> None:
    """Given 20,000 records of 0.3 kB; when they are read; then a plane costs less than 0.8 kB at the worst moment."""
    wells = range(1, 9)
    mlf = data(*(record(f"P1_{row:02d}_{n:05d}.tif", Row=row, FieldIndex=n) for row in wells for n in range(1, 2501)))
    there = folder(mlf)
    # The lower of two: threads that other tests left behind allocate, too.
    peaks = [peak_bytes(lambda: len(read(there).planes) == 20_000) for _ in range(2)]
    assert min(peaks) < 800 * 20_000


def peak_bytes(work: Callable[[], bool]) -> int:
    """The most that was allocated while some work was done, which must succeed."""
    tracemalloc.start()
    try:
        assert work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ever_new_names_are_refused() -> None:
    """Expat keeps every name of an element or attribute that it has seen."""
    assert "different names" in refusal(folder(data(*(f"<n{n}/>" for n in range(2000)))))


@pytest.mark.parametrize(
    ("module", "bound"),
    [
        (xmlstream, "MAX_ELEMENTS"),
        (boundedxml, "MAX_BYTES"),
        (records, "MAX_RECORDS"),
        (records, "MAX_CHANNELS"),
        (records, "MAX_ACTIONS"),
        (layout, "MAX_PLANES"),
    ],
)
def test_a_measurement_is_bounded(monkeypatch: pytest.MonkeyPatch, module: object, bound: str) -> None:
    """Elements, bytes, records, channels, actions, and the planes that sparse numbers multiply to."""
    five = range(1, 6)
    mlf = data(*(record(f"{n}.tif", Ch=n) for n in five))
    there = folder(mlf, mrf=detail(five), mes=settings([five]))
    read(there)
    monkeypatch.setattr(module, bound, 4)
    message = refusal(there)
    assert any(words in message for words in (" more than 4", "larger than 4 bytes", "not within 1 and 4"))


def test_sparse_numbers_cannot_make_the_server_allocate_a_huge_plate() -> None:
    """Given two records at the ends of all axes; then Bio-Formats would allocate two billion planes for them."""
    mlf = data(record(), record("b.tif", ZIndex=1000, TimePoint=1000, FieldIndex=2000))
    assert "2000000000 planes, more than 10000000" in refusal(folder(mlf))


@given(
    st.sampled_from(["P1.wpi", DATA, DETAIL, SETTINGS]),
    st.text(st.sampled_from("<>/&;!-[]='\" abtsCh:1\n\0é"), max_size=60),
    st.integers(0, 900),
)
@examples(max_examples=200)
def test_no_text_breaks_the_parser_in_another_way(name: str, junk: str, place: int) -> None:
    """Whatever stands in a file, it is read or refused by an error of the fleet."""
    there = folder(data(record()))
    content = there.files[name]
    there.files[name] = content[:place] + junk.encode() + content[place:]
    try:
        plate = read(there)
    except FleetError:
        return
    assert plate.files[0] == str(ENTRY)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["P1.wpi", DATA, DETAIL], "P1.wpi"),
        (["P1.WPI", DATA], "P1.WPI"),
        (["P1.wpi", DETAIL], "P1.wpi"),
        (["P1.wpi"], "P1.wpi"),
        (["b.wpi", "a.wpi", DATA], "a.wpi"),
        ([".hidden.wpi", DATA], None),
        ([DATA, DETAIL, "a.tif"], None),
        (["Index.idx.xml", "a.tiff"], None),
        (["plate.HTD", "plate_A01_s1_w1.TIF"], None),
    ],
)
def test_the_entry_of_a_measurement_is_found_by_names(names: list[str], found: str | None) -> None:
    """No folder of another vendor is taken."""
    there = Folder(dict.fromkeys(names, WPI.encode()))
    assert FORMAT.find_entry(FOLDER, there) == (None if found is None else FOLDER / found)
    for name in names:
        is_entry = name.lower().endswith(".wpi")
        assert FORMAT.find_entry(FOLDER / name, there) == (FOLDER / name if is_entry else None)


def test_a_lone_wpi_must_be_one() -> None:
    """It may be the first file of a copy, still empty, but it may be the file of another program."""
    assert FORMAT.find_entry(FOLDER, Folder({"x.wpi": b"WPI image of something"})) is None
    assert FORMAT.find_entry(FOLDER, Folder({"x.wpi": b""})) == FOLDER / "x.wpi"


def test_two_plates_in_one_folder_are_refused() -> None:
    """There is one measurement, and nobody can tell whose it is."""
    there = folder(data(record()), others={"copy.wpi": WPI.encode()})
    message = refusal(there)
    assert "hcs/P1 holds 2 plates ('P1.wpi', 'copy.wpi') and one measurement" in message


def test_a_measurement_at_the_top_of_a_share_is_read() -> None:
    """Its folder is the share."""
    inside = folder(data(record()))
    there = Folder(inside.files, PurePosixPath())
    plate = FORMAT.read(PurePosixPath("P1.wpi"), there)
    assert plate.files[:2] == ("P1.wpi", DATA)
    assert plate.planes[0].path == "a.tif"
    assert {"a.tif"} == set(plate.files) - set(there.files)


def test_the_xml_namespace_is_not_needed() -> None:
    """Bio-Formats reads names, prefix and all."""
    assert read(folder(data(record()).replace(f" {XMLNS}", ""))).planes
