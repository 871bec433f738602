"""The width and height of the first image of a TIFF, read from its head as a stream.

Bio-Formats gives every image of a Yokogawa plate the extent of the first TIFF that is there. Reads on to the first
directory of the file, wherever that is, and keeps nothing. Pure but for the stream that it is given.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from fleet_common.plates.model import Bytes

MAX_BYTES: Final = 1 << 28
MAX_TAGS: Final = 4_096

_CHUNK_BYTES: Final = 1 << 16
_WIDTH: Final = 256
_HEIGHT: Final = 257
_SHORT: Final = 3
_LONG: Final = 4
_LONG8: Final = 16


class NotTiff(Exception):
    """The stream is no TIFF, is cut, or is larger than a TIFF can be."""


class _Kind(NamedTuple):
    """How classic TIFF and BigTIFF write offsets, counts and tags."""

    offset: str
    length: str
    tag: str


_CLASSIC: Final = _Kind("I", "H", "HHI4s")
_BIG: Final = _Kind("Q", "Q", "HHQ8s")


def extent(stream: Bytes) -> tuple[int, int]:
    """Read width and height in pixels.

    Raises:
        NotTiff: There is none to read.
    """
    source = _Stream(stream)
    order = {b"II": "<", b"MM": ">"}.get(source.take(2), "")
    if not order:
        raise NotTiff("it begins with neither II nor MM")
    magic = source.number(order, "H")
    if magic == 43:  # noqa: PLR2004  BigTIFF
        source.take(4)
    elif magic != 42:  # noqa: PLR2004  TIFF
        raise NotTiff(f"its magic number is {magic}")
    return _read_tags(source, order, _BIG if magic == 43 else _CLASSIC)  # noqa: PLR2004  as above


def _read_tags(source: _Stream, order: str, kind: _Kind) -> tuple[int, int]:
    source.skip_to(source.number(order, kind.offset))
    count = source.number(order, kind.length)
    if count > MAX_TAGS:
        raise NotTiff(f"it has {count} tags")
    found: dict[int, int] = {}
    for _ in range(count):
        tag, value_type, _, raw = struct.unpack(order + kind.tag, source.take(struct.calcsize(order + kind.tag)))
        if tag in (_WIDTH, _HEIGHT):
            found[tag] = _value(order, value_type, raw)
    if not found.get(_WIDTH) or not found.get(_HEIGHT):
        raise NotTiff("it has no width or no height")
    return found[_WIDTH], found[_HEIGHT]


def _value(order: str, value_type: int, raw: bytes) -> int:
    code = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}.get(value_type, "")
    if not code or struct.calcsize(code) > len(raw):
        raise NotTiff(f"its size is of the type {value_type}")
    value: int = struct.unpack_from(order + code, raw)[0]
    return value


class _Stream:
    """A stream that knows how much of it was read."""

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self._at = 0

    def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        taken = b""
        while len(taken) < size:
            part = self._stream.read(min(size - len(taken), _CHUNK_BYTES))
            if not part:
                raise NotTiff(f"it ends after {self._at + len(taken)} bytes")
            taken += part
        self._at += size
        return taken

    def number(self, order: str, code: str) -> int:
        """A whole number."""
        value: int = struct.unpack(order + code, self.take(struct.calcsize(order + code)))[0]
        return value

    def skip_to(self, offset: int) -> None:
        """Read on."""
        if not self._at <= offset <= MAX_BYTES:
            raise NotTiff(f"its directory is at {offset}")
        while self._at < offset:
            self.take(min(offset - self._at, _CHUNK_BYTES))
