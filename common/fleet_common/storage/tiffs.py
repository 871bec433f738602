"""Whether a TIFF is whole: every strip, tile and value of every image lies inside the file; and of which type it is.

A TIFF that was cut to a third imports without an error, and shows black or noise where its end was. One that has 32
bits among others of 16 is shown as zeros (ome/bioformats#3908). Classic TIFF and BigTIFF, both byte orders, images of
images (``SubIFDs``), ImageJ's stacks of one directory. Reads no pixels, only directories and lists of offsets, and no
more than :data:`MAX_READ_BYTES` in all. Pure but for the file it is given; any thread.

The layout is that of TIFF 6.0 (Adobe, 1992) and of https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

from __future__ import annotations

import enum
import re
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple, Protocol

from fleet_common.storage.pixeltypes import pixel_type

MAX_READ_BYTES: Final = 64 * 1024 * 1024
MAX_DIRECTORIES: Final = 100_000
MAX_TAGS: Final = 4_096
ENDINGS: Final = (".tif", ".tiff", ".btf", ".tf2", ".tf8")

_CLASSIC_MAGIC: Final = 42
_BIG_MAGIC: Final = 43
_CLASSIC_BYTES: Final = 1 << 32
"""Beyond this the offsets of a classic TIFF do not reach; some vendors write on, and only they know what that means."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _DESCRIPTION = 256, 257, 258, 259, 270
_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _INNER, _SAMPLE_FORMAT = 322, 323, 324, 325, 330, 339

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_DESCRIPTION_BYTES: Final = 4_096
_IMAGEJ: Final = re.compile(rb"ImageJ=.*?^images=([0-9]{1,9})$", re.DOTALL | re.MULTILINE)


class Wholeness(enum.StrEnum):
    """What is known of a file that should be a TIFF."""

    WHOLE = "whole"
    CUT = "cut"
    NOT_TIFF = "not a TIFF"
    UNJUDGED = "not judged"


class Judgement(NamedTuple):
    """What is known of a TIFF.

    Attributes:
        wholeness: Whether it is whole; ``UNJUDGED`` is no reason to refuse it.
        why: If it is not whole.
        pixels: The type of the pixels of its first image, as OME calls it; empty unless it is whole.
    """

    wholeness: Wholeness
    why: str = ""
    pixels: str = ""


class Seekable(Protocol):
    """An open file of bytes."""

    def seek(self, offset: int, /) -> int:
        """Go to a place counted from the beginning."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to ``size`` bytes, none at the end."""


def looks_like_tiff(path: str) -> bool:
    """Whether a file of this name should be a TIFF."""
    return path.lower().endswith(ENDINGS)


def judge(file: Seekable, size_bytes: int) -> Judgement:
    """Judge a file.

    Args:
        file: Open, at any place.
        size_bytes: Its size.
    """
    try:
        source = _header(_Source(file, size_bytes))
        for place in _directories(source):
            _check_directory(source, place)
    except _Judged as judged:
        return judged.judgement
    return Judgement(Wholeness.WHOLE, pixels=source.pixels)


class _Judged(Exception):
    def __init__(self, wholeness: Wholeness, why: str) -> None:
        super().__init__(why)
        self.judgement = Judgement(wholeness, why)


class _Layout(NamedTuple):
    """How classic TIFF and BigTIFF differ; byte order included."""

    order: str
    offset: struct.Struct
    length: struct.Struct
    tag: struct.Struct

    @classmethod
    def of(cls, order: str, *, big: bool) -> _Layout:
        offset, length, tag = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
        return cls(order, *(struct.Struct(order + code) for code in (offset, length, tag)))


_UNKNOWN: Final = _Layout.of("<", big=False)


@dataclass
class _Source:
    """The file, its layout, and how much of it was read."""

    file: Seekable
    size_bytes: int
    layout: _Layout = _UNKNOWN
    read_bytes: int = 0
    pixels: str = ""
    seen: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)

    def take(self, offset: int, size: int, what: str) -> bytes:
        """Exactly so many bytes from there."""
        self.require(offset, size, what)
        self.read_bytes += size
        if self.read_bytes > MAX_READ_BYTES:
            raise _Judged(Wholeness.UNJUDGED, f"it has more than {MAX_READ_BYTES} bytes of directories")
        self.file.seek(offset)
        taken = b""
        while len(taken) < size and (part := self.file.read(size - len(taken))):
            taken += part
        if len(taken) < size:
            raise _Judged(Wholeness.CUT, f"{what} ends after {offset + len(taken)} bytes")
        return taken

    def require(self, offset: int, size: int, what: str) -> None:
        """Something lies inside the file."""
        if offset + size > self.size_bytes:
            raise _Judged(
                Wholeness.CUT, f"{what} ends at byte {offset + size}, but the file has only {self.size_bytes}"
            )


class _Value(NamedTuple):
    """What a tag says: of which type, how often, and its bytes, or where they are."""

    kind: int
    many: int
    raw: bytes


_Tags = dict[int, _Value]


def _header(source: _Source) -> _Source:
    if source.size_bytes < 8:  # noqa: PLR2004  the shortest header
        raise _Judged(Wholeness.NOT_TIFF, f"it has only {source.size_bytes} bytes")
    start = source.take(0, 8, "its header")
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
    magic = struct.unpack(f"{order}H", start[2:4])[0] if order else 0
    if magic not in {_CLASSIC_MAGIC, _BIG_MAGIC}:
        raise _Judged(Wholeness.NOT_TIFF, f"it begins with the bytes {start[:4].hex(' ')}")
    source.layout = _Layout.of(order, big=magic == _BIG_MAGIC)
    if magic == _CLASSIC_MAGIC and source.size_bytes > _CLASSIC_BYTES:
        raise _Judged(Wholeness.UNJUDGED, "it is larger than its offsets reach")
    place = source.take(8, 8, "its header") if magic == _BIG_MAGIC else start[4:]
    source.waiting = [source.layout.offset.unpack(place)[0]]
    return source


def _directories(source: _Source) -> Iterator[int]:
    """The places of all directories; those that are found on the way are put into ``waiting``."""
    while source.waiting:
        place = source.waiting.pop()
        if place in source.seen:
            continue
        if place == 0:
            raise _Judged(Wholeness.CUT, "its first directory was never written")
        if len(source.seen) >= MAX_DIRECTORIES:
            raise _Judged(Wholeness.UNJUDGED, f"it has more than {MAX_DIRECTORIES} directories")
        source.seen.add(place)
        yield place


def _check_directory(source: _Source, place: int) -> None:
    layout, what = source.layout, f"its directory at byte {place}"
    (count,) = layout.length.unpack(source.take(place, layout.length.size, what))
    if count > MAX_TAGS:
        raise _Judged(Wholeness.UNJUDGED, f"{what} has {count} tags")
    size = count * layout.tag.size
    raw = source.take(place + layout.length.size, size + layout.offset.size, what)
    tags = {tag: _Value(kind, many, at) for tag, kind, many, at in layout.tag.iter_unpack(raw[:size])}
    (following,) = layout.offset.unpack(raw[size:])
    source.waiting += [following] if following else []
    _check_values(source, tags)
    source.waiting += [inner for inner in _numbers(source, tags, _INNER) if inner]
    _check_pixels(source, tags)
    source.pixels = source.pixels or pixel_type(_one(source, tags, _BITS, 1), _one(source, tags, _SAMPLE_FORMAT, 1))


def _check_values(source: _Source, tags: _Tags) -> None:
    for tag, value in tags.items():
        size = _SIZES.get(value.kind, 0) * value.many
        if size > len(value.raw):
            source.require(source.layout.offset.unpack(value.raw)[0], size, f"the value of its tag {tag}")


def _check_pixels(source: _Source, tags: _Tags) -> None:
    for offsets_tag, bytes_tag, name in ((_STRIPS, _STRIP_BYTES, "strip"), (_TILES, _TILE_BYTES, "tile")):
        if offsets_tag not in tags:
            continue
        offsets = _numbers(source, tags, offsets_tag)
        sizes = _numbers(source, tags, bytes_tag) or _computed_sizes(source, tags, len(offsets))
        if len(sizes) < len(offsets) or len(offsets) < _wanted(source, tags, name):
            raise _Judged(Wholeness.CUT, f"it lists {len(sizes)} of {_wanted(source, tags, name)} {name}s")
        _check_parts(source, offsets, sizes, name)
        _check_imagej(source, tags, offsets)


def _check_parts(source: _Source, offsets: array[int], sizes: array[int], name: str) -> None:
    for number, (offset, size) in enumerate(zip(offsets, sizes, strict=False), start=1):
        # Writers of sparse TIFFs leave out what is empty: then both are 0. Offset 0 alone was never filled in.
        if offset + size > source.size_bytes or (size and not offset):
            what = f"its {name} {number} of {len(offsets)}"
            if not offset:
                raise _Judged(Wholeness.CUT, f"{what} was never written")
            source.require(offset, size, what)


def _check_imagej(source: _Source, tags: _Tags, offsets: array[int]) -> None:
    """ImageJ writes large stacks with one directory, and all images one after the other."""
    value = tags.get(_DESCRIPTION)
    if value is None or not offsets or value.many > _MAX_DESCRIPTION_BYTES:
        return
    found = _IMAGEJ.search(_bytes(source, value, value.many))
    if found and len(source.seen) == 1 and not source.waiting and _one(source, tags, _COMPRESSION, 1) == 1:
        images = int(found[1])
        source.require(offsets[0], images * _image_bytes(source, tags), f"the last of its {images} images")


def _wanted(source: _Source, tags: _Tags, name: str) -> int:
    """How many strips or tiles an image of this size has; 0 where the tags do not tell."""
    width, height = _one(source, tags, _WIDTH, 0), _one(source, tags, _HEIGHT, 0)
    if name == "strip":
        rows = min(_one(source, tags, _ROWS, height), height)
        parts = -(-height // rows) if rows else 0
    else:
        across, down = _one(source, tags, _TILE_WIDTH, 0), _one(source, tags, _TILE_HEIGHT, 0)
        parts = -(-width // across) * -(-height // down) if across and down else 0
    separate = _one(source, tags, _PLANAR, 1) == 2  # noqa: PLR2004  each sample has its own strips
    return parts * (_one(source, tags, _SAMPLES, 1) if separate else 1)


def _computed_sizes(source: _Source, tags: _Tags, count: int) -> array[int]:
    """Writers before TIFF 6 could leave the sizes out; without compression they follow from the image."""
    plain = count == 1 and _one(source, tags, _COMPRESSION, 1) == 1
    return array("Q", [_image_bytes(source, tags)] if plain else [0] * count)


def _image_bytes(source: _Source, tags: _Tags) -> int:
    bits = _one(source, tags, _BITS, 1) * _one(source, tags, _SAMPLES, 1)
    return -(-_one(source, tags, _WIDTH, 0) * bits // 8) * _one(source, tags, _HEIGHT, 0)


def _one(source: _Source, tags: _Tags, tag: int, otherwise: int) -> int:
    numbers = _numbers(source, tags, tag)
    return numbers[0] if numbers else otherwise


def _numbers(source: _Source, tags: _Tags, tag: int) -> array[int]:
    """All whole numbers of a tag; none when it is missing or of another type."""
    value = tags.get(tag)
    code = _CODES.get(value.kind) if value else None
    if value is None or code is None:
        return array("Q")
    raw = _bytes(source, value, _SIZES[value.kind] * value.many)
    parts = struct.iter_unpack(source.layout.order + code, raw)
    return array("Q", chain.from_iterable(parts))


def _bytes(source: _Source, value: _Value, size: int) -> bytes:
    if size <= len(value.raw):
        return value.raw[:size]
    return source.take(source.layout.offset.unpack(value.raw)[0], size, "the list of its parts")
