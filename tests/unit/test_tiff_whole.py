"""Whether a TIFF is whole, judged without its pixels: every way of writing one, cut at every place."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_common.storage import tiffs
from fleet_common.storage.pixeltypes import PIXEL_TYPES, pixel_type
from fleet_common.storage.tiffs import Judgement, Wholeness, judge, looks_like_tiff

PIXELS = np.arange(48 * 64, dtype="uint16").reshape(48, 64)

WRITERS: dict[str, dict[str, Any]] = {
    "classic": {},
    "big endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "BigTIFF, big endian": {"bigtiff": True, "byteorder": ">"},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 16)},
    "BigTIFF, tiles": {"bigtiff": True, "tile": (16, 16)},
    "compressed": {"compression": "zlib", "rowsperstrip": 16},
    "compressed tiles": {"compression": "zlib", "tile": (16, 32)},
}


def written(**how: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, PIXELS, metadata=None, photometric="minisblack", **how)
    return stream.getvalue()


def judged(content: bytes) -> Judgement:
    return judge(io.BytesIO(content), len(content))


def end_of_pixels(content: bytes) -> int:
    """Where the last strip or tile ends, as tifffile says."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        ends = [
            offset + size
            for page in file.pages
            for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    return int(max(ends))


@pytest.mark.parametrize("kind", sorted(PIXEL_TYPES))
def test_a_whole_file_tells_the_type_of_its_pixels(kind: str) -> None:
    """As OME calls it, whichever of the types that TIFFs and OME have in common."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 4), {"float": "float32", "double": "float64"}.get(kind, kind)))
    assert judged(stream.getvalue()).pixels == kind


@pytest.mark.parametrize(
    ("bits", "sample_format", "name"),
    [(1, 1, "uint8"), (12, 1, "uint16"), (12, 2, "int16"), (24, 1, "uint32"), (16, 3, "float"), (64, 3, "double")],
)
def test_odd_depths_are_rounded_as_bioformats_does(bits: int, sample_format: int, name: str) -> None:
    """Twelve bits beside sixteen are no damage."""
    assert pixel_type(bits, sample_format) == name


@pytest.mark.parametrize("how", WRITERS.values(), ids=WRITERS.keys())
class TestEveryKind:
    """Each way of writing one image."""

    def test_a_whole_file_is_whole(self, how: dict[str, Any]) -> None:
        assert judged(written(**how)) == Judgement(Wholeness.WHOLE, pixels="uint16")

    def test_a_file_that_lacks_its_last_byte_is_cut(self, how: dict[str, Any]) -> None:
        content = written(**how)
        cut = judged(content[: end_of_pixels(content) - 1])
        assert cut.wholeness is Wholeness.CUT
        assert "the file has only" in cut.why

    def test_a_third_of_a_file_is_cut(self, how: dict[str, Any]) -> None:
        content = written(**how)
        assert judged(content[: len(content) // 3]).wholeness is Wholeness.CUT

    def test_a_header_alone_is_cut(self, how: dict[str, Any]) -> None:
        assert judged(written(**how)[:16]).wholeness is Wholeness.CUT


@settings(deadline=None)
@given(st.data())
def test_no_cut_file_passes_for_a_whole_one(data: st.DataObject) -> None:
    """Given any kind, cut anywhere before the end of its pixels; then it is not whole."""
    content = written(**WRITERS[data.draw(st.sampled_from(sorted(WRITERS)))])
    at = data.draw(st.integers(0, end_of_pixels(content) - 1))
    assert judged(content[:at]).wholeness in {Wholeness.CUT, Wholeness.NOT_TIFF}


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_judged_and_never_fails(content: bytes) -> None:
    """Neither noise nor a header with noise behind it ends in anything but a judgement."""
    for start in (b"", b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0" + struct.pack(">Q", 16)):
        assert isinstance(judged(start + content), Judgement)


@settings(deadline=None)
@given(st.binary(min_size=0, max_size=60), st.integers(0, 300))
def test_a_damaged_directory_is_judged_and_never_fails(noise: bytes, place: int) -> None:
    content = bytearray(written(rowsperstrip=7))
    content[place : place + len(noise)] = noise
    assert isinstance(judged(bytes(content)), Judgement)


def test_every_image_of_a_stack_counts(tmp_path: Path) -> None:
    """Given three images one after the other, when only the last is cut, then the file is."""
    tifffile.imwrite(tmp_path / "a.tif", np.stack([PIXELS] * 3), metadata=None, photometric="minisblack")
    content = (tmp_path / "a.tif").read_bytes()
    assert judged(content).wholeness is Wholeness.WHOLE
    assert judged(content[: end_of_pixels(content) - 1]).wholeness is Wholeness.CUT


def test_images_inside_an_image_count() -> None:
    """A pyramid: its smaller images are in SubIFDs."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(PIXELS, subifds=1, metadata=None)
        file.write(PIXELS[::2, ::2], subfiletype=1, metadata=None)
    content = stream.getvalue()
    assert judged(content).wholeness is Wholeness.WHOLE
    assert judged(content[:-1]).wholeness is Wholeness.CUT


def test_the_last_image_of_an_imagej_stack_counts() -> None:
    """ImageJ writes one directory for all images; its strip is that of the first."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.stack([PIXELS] * 5), imagej=True)
    content = stream.getvalue()
    one = PIXELS.nbytes
    assert judged(content).wholeness is Wholeness.WHOLE
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        (start, *_) = file.pages.first.dataoffsets
    cut = judged(content[: start + 5 * one - 1])
    assert cut.wholeness is Wholeness.CUT


def test_a_sparse_file_is_whole() -> None:
    """GDAL leaves empty tiles out: offset and size are both 0."""
    content = bytearray(written(tile=(16, 16)))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tags = file.pages.first.tags
        for name in ("TileOffsets", "TileByteCounts"):
            content[tags[name].valueoffset : tags[name].valueoffset + 4] = bytes(4)
    assert judged(bytes(content)).wholeness is Wholeness.WHOLE


def test_a_strip_that_was_never_written_is_missing() -> None:
    """Given a writer that died: the size is known, the place is not."""
    content = bytearray(written(rowsperstrip=7))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        place = file.pages.first.tags["StripOffsets"].valueoffset
    content[place : place + 4] = bytes(4)
    assert judged(bytes(content)) == Judgement(Wholeness.CUT, "its strip 1 of 7 was never written")


def test_fewer_strips_than_the_image_has_rows_is_cut() -> None:
    """Given a directory that lists one strip of seven."""
    content = bytearray(written(rowsperstrip=7))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for name in ("StripOffsets", "StripByteCounts"):
            content[file.pages.first.tags[name].offset + 4] = 1
    assert judged(bytes(content)).wholeness is Wholeness.CUT


def test_old_writers_left_the_sizes_out() -> None:
    """Given one strip without StripByteCounts, then its size follows from that of the image."""
    content = written()
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        place = file.pages.first.tags["StripByteCounts"].offset
        end = end_of_pixels(content)
    old = bytearray(content)
    old[place : place + 2] = struct.pack("<H", 65_000)
    assert judged(bytes(old)).wholeness is Wholeness.WHOLE
    assert judged(bytes(old[: end - 1])).wholeness is Wholeness.CUT


@pytest.mark.parametrize("content", [b"", b"II", b"cells of a mouse", bytes(4096), b"\x89PNG\r\n\x1a\n" * 4])
def test_other_files_are_no_tiffs(content: bytes) -> None:
    """A file full of zeros is what a copy leaves that reserved its place first."""
    assert judged(content).wholeness is Wholeness.NOT_TIFF


def test_a_directory_that_was_never_written_is_cut() -> None:
    """Writers put the place of the directory into the header last."""
    assert judged(b"II*\0" + bytes(4000)) == Judgement(Wholeness.CUT, "its first directory was never written")


def test_directories_in_a_circle_end() -> None:
    content = bytearray(written())
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        place = file.pages.first.offset
        count = len(file.pages.first.tags)
    content[place + 2 + 12 * count : place + 6 + 12 * count] = struct.pack("<I", place)
    assert judged(bytes(content)).wholeness is Wholeness.WHOLE


def test_a_classic_file_beyond_its_offsets_is_not_judged() -> None:
    """Hamamatsu's slides are classic TIFFs of many gigabytes: their offsets mean something else."""
    content = written()
    assert judge(io.BytesIO(content), (1 << 32) + 1).wholeness is Wholeness.UNJUDGED


def test_what_is_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiffs, "MAX_READ_BYTES", 100)
    assert judged(written(rowsperstrip=1)).wholeness is Wholeness.UNJUDGED
    monkeypatch.setattr(tiffs, "MAX_READ_BYTES", 1 << 20)
    monkeypatch.setattr(tiffs, "MAX_DIRECTORIES", 0)
    assert judged(written()).wholeness is Wholeness.UNJUDGED


def test_pixels_are_not_read() -> None:
    """Given an image of 1 MB, then a few hundred bytes are enough."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((1024, 512), "uint16"), metadata=None)
    read: list[int] = []

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            taken = super().read(size)
            read.append(len(taken))
            return taken

    assert judge(Counting(stream.getvalue()), len(stream.getvalue())).wholeness is Wholeness.WHOLE
    assert sum(read) < 1024


@pytest.mark.parametrize(("path", "expected"), [("a/b.TIF", True), ("a.ome.tiff", True), ("a.czi", False)])
def test_files_are_known_by_their_ending(path: str, expected: bool) -> None:  # noqa: FBT001  a column of the table
    assert looks_like_tiff(path) is expected
