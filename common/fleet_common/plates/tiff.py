"""What the head of a TIFF tells: width, height and description of its first image.

Bio-Formats gives every image of many plates the extent of the first TIFF that is there, and an OME-TIFF holds its
OME-XML as the description of its first image. Reads the first directory of the file and what its tags point to, and
keeps nothing. Pure but for the stream that it is given.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from fleet_common.errors import Reason, RequestError
from fleet_common.plates.model import Reader, SeekableBytes

MAX_TAGS: Final = 4_096
MAX_DESCRIPTION_BYTES: Final = 256 << 20

_CHUNK_BYTES: Final = 1 << 16
_WIDTH: Final = 256
_HEIGHT: Final = 257
_DESCRIPTION: Final = 270
_ASCII: Final = 2
_SHORT: Final = 3
_LONG: Final = 4
_LONG8: Final = 16


class NotTiff(Exception):
    """The stream is no TIFF, or is cut."""


class Text(NamedTuple):
    """Where a text is: its offset and length in bytes."""

    offset: int
    length: int


class Head(NamedTuple):
    """What the first directory says.

    Attributes:
        width: Of the first image, in pixels.
        height: Of the first image, in pixels.
        description: Where its description is; None if it has none.
    """

    width: int
    height: int
    description: Text | None


class _Kind(NamedTuple):
    """How classic TIFF and BigTIFF write offsets, counts and tags."""

    offset: str
    length: str
    tag: str


class _Tag(NamedTuple):
    """One entry of a directory: its type, how many values, and these or where they are."""

    type: int
    values: int
    raw: bytes
    at: int


_CLASSIC: Final = _Kind("I", "H", "HHI4s")
_BIG: Final = _Kind("Q", "Q", "HHQ8s")


def extent(stream: SeekableBytes) -> tuple[int, int]:
    """Read width and height in pixels.

    Raises:
        NotTiff: There is none to read.
    """
    return head(stream)[:2]


def head(stream: SeekableBytes) -> Head:
    """Read the first directory.

    Raises:
        NotTiff: There is none to read.
    """
    source = _Source(stream)
    order = {b"II": "<", b"MM": ">"}.get(source.take(2), "")
    if not order:
        raise NotTiff("it begins with neither II nor MM")
    magic = source.number(order, "H")
    if magic == 43:  # noqa: PLR2004  BigTIFF
        source.take(4)
    elif magic != 42:  # noqa: PLR2004  TIFF
        raise NotTiff(f"its magic number is {magic}")
    return _head(source, order, _BIG if magic == 43 else _CLASSIC)  # noqa: PLR2004  as above


def description(stream: SeekableBytes, where: Text) -> bytes:
    """Read a description, without the zero at its end.

    Raises:
        NotTiff: It is longer than 256 MiB, or the file ends before.
    """
    if where.length > MAX_DESCRIPTION_BYTES:
        raise NotTiff(f"its description is longer than {MAX_DESCRIPTION_BYTES} bytes")
    source = _Source(stream)
    source.seek(where.offset)
    return source.take(where.length).rstrip(b"\0")


def extent_of(path: PurePosixPath, reader: Reader) -> tuple[int, int] | None:
    """Width and height of a TIFF of a plate; None as long as it does not tell them: not there, empty, cut, or none."""
    try:
        with reader.open(path) as stream:
            return extent(stream)
    except NotTiff:
        return None
    except RequestError as error:
        if error.reason in (Reason.FILE_EMPTY, Reason.MANIFEST_DIFFERS):
            return None
        raise


def _head(source: _Source, order: str, kind: _Kind) -> Head:
    tags = _tags(source, order, kind)
    width, height = _number(tags, _WIDTH, order), _number(tags, _HEIGHT, order)
    if not width or not height:
        raise NotTiff("it has no width or no height")
    text = tags.get(_DESCRIPTION)
    if text is None or text.type != _ASCII:
        return Head(width, height, None)
    offset = struct.unpack(order + kind.offset, text.raw)[0] if text.values > len(text.raw) else text.at
    return Head(width, height, Text(offset, text.values))


def _tags(source: _Source, order: str, kind: _Kind) -> Mapping[int, _Tag]:
    source.seek(source.number(order, kind.offset))
    count = source.number(order, kind.length)
    if count > MAX_TAGS:
        raise NotTiff(f"it has {count} tags")
    found: dict[int, _Tag] = {}
    for _ in range(count):
        content = source.take(struct.calcsize(order + kind.tag))
        tag, value_type, values, raw = struct.unpack(order + kind.tag, content)
        found[tag] = _Tag(value_type, values, raw, source.at - len(raw))
    return found


def _number(tags: Mapping[int, _Tag], name: int, order: str) -> int:
    tag = tags.get(name)
    if tag is None:
        return 0
    code = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}.get(tag.type, "")
    if not code or struct.calcsize(code) > len(tag.raw):
        raise NotTiff(f"its size is of the type {tag.type}")
    value: int = struct.unpack_from(order + code, tag.raw)[0]
    return value


class _Source:
    """A stream that knows where it is."""

    def __init__(self, stream: SeekableBytes) -> None:
        self._stream = stream
        self.at = 0

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        taken = bytearray()
        while len(taken) < size:
            part = self._stream.read(min(size - len(taken), _CHUNK_BYTES))
            if not part:
                raise NotTiff(f"it ends after {self.at + len(taken)} bytes")
            taken += part
        self.at += size
        return bytes(taken)

    def number(self, order: str, code: str) -> int:
        """A whole number."""
        value: int = struct.unpack(order + code, self.take(struct.calcsize(order + code)))[0]
        return value

    def seek(self, offset: int) -> None:
        """Go on at an offset, which may lie behind the end: then nothing can be taken there."""
        try:
            self._stream.seek(offset)
        except (OSError, ValueError, OverflowError) as error:
            raise NotTiff(f"it refers to the offset {offset}") from error
        self.at = offset
