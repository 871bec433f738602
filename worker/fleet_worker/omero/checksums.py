"""The seven checksums of OMERO.server, computed while a file is sent.

The hex forms are those that the server stores: lower case; the 32- and 64-bit values are little-endian, as Guava writes
them (ome/omero-common, ``ome.util.checksum``). Checked against a real server, see ``docs/explanation/omero-import.md``.
Threading: a hasher belongs to one thread; different hashers are independent.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import mmh3

from fleet_common.messages import ChecksumAlgorithm


class Hasher(Protocol):
    """Takes bytes piece by piece, and gives the hash in the server's form."""

    def update(self, data: bytes, /) -> None:
        """Add the next piece."""

    def hexdigest(self) -> str:
        """The hash of all pieces so far."""


class _Size:
    """File-Size-64: the number of bytes."""

    def __init__(self) -> None:
        self._size = 0

    def update(self, data: bytes, /) -> None:
        self._size += len(data)

    def hexdigest(self) -> str:
        return size_hash(self._size)


class _Rolling:
    """CRC-32 and Adler-32 of zlib."""

    def __init__(self, step: Callable[[bytes, int], int], start: int) -> None:
        self._step = step
        self._value = start

    def update(self, data: bytes, /) -> None:
        self._value = self._step(data, self._value)

    def hexdigest(self) -> str:
        return struct.pack("<I", self._value).hex()


class _Murmur:
    """Murmur3 with seed 0."""

    def __init__(self, size_bits: int) -> None:
        self._hash = mmh3.mmh3_x64_128() if size_bits == 128 else mmh3.mmh3_32()  # noqa: PLR2004  the name says it

    def update(self, data: bytes, /) -> None:
        self._hash.update(data)

    def hexdigest(self) -> str:
        digest: bytes = self._hash.digest()
        return digest.hex()


def _sha1() -> Hasher:
    return hashlib.sha1(usedforsecurity=False)


def _md5() -> Hasher:
    return hashlib.md5(usedforsecurity=False)


_HASHERS: Mapping[ChecksumAlgorithm, Callable[[], Hasher]] = MappingProxyType(
    {
        ChecksumAlgorithm.ADLER_32: lambda: _Rolling(zlib.adler32, 1),
        ChecksumAlgorithm.CRC_32: lambda: _Rolling(zlib.crc32, 0),
        ChecksumAlgorithm.FILE_SIZE_64: _Size,
        ChecksumAlgorithm.MD5_128: _md5,
        ChecksumAlgorithm.MURMUR3_32: lambda: _Murmur(32),
        ChecksumAlgorithm.MURMUR3_128: lambda: _Murmur(128),
        ChecksumAlgorithm.SHA1_160: _sha1,
    }
)


def size_hash(size_bytes: int) -> str:
    """File-Size-64 of a file that need not be read for it."""
    return struct.pack("<q", size_bytes).hex()


def hasher(algorithm: ChecksumAlgorithm) -> Hasher:
    """A new hasher of the algorithm."""
    return _HASHERS[algorithm]()
