"""The manifest of a request: how many files, how many bytes, and one digest over path and size of each.

Pure functions over data, no I/O, no threads. The digest is part of the request and of every annotation in OMERO, so its
byte format is fixed for ever: for each file, sorted by the UTF-8 bytes of its path, the path in UTF-8, a NUL byte, the
size in bytes as decimal digits, a newline; the SHA-256 of all that, in lower-case hexadecimal. The path is relative to
the share, POSIX spelling: the same on every host, wherever the share is mounted. The share's name is not part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fleet_common.errors import Reason, failure
from fleet_common.names import printable


class ManifestEntry(NamedTuple):
    """One file: its path relative to the share, POSIX spelling, and its size in bytes."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """What a request carries of its manifest.

    Attributes:
        files: The number of files.
        bytes: The sum of their sizes.
        digest: See the module.
    """

    files: int
    bytes: int
    digest: str


def digest(entries: Iterable[ManifestEntry]) -> str:
    """Compute the digest over all entries, whatever their order; see the module for the byte format."""
    lines = sorted((path.encode(), size_bytes) for path, size_bytes in entries)
    total = hashlib.sha256()
    for path, size_bytes in lines:
        total.update(b"%b\0%d\n" % (path, size_bytes))
    return total.hexdigest()


def summarise(entries: Iterable[ManifestEntry]) -> ManifestSummary:
    """Summarise a manifest for a request.

    Raises:
        Permanent: ``format-broken`` when a path is listed twice.
    """
    listed = tuple(entries)
    if len({entry.path for entry in listed}) != len(listed):
        raise failure(Reason.FORMAT_BROKEN, f"the file list names {printable(_repeated(listed))} twice")
    return ManifestSummary(len(listed), sum(entry.size_bytes for entry in listed), digest(listed))


def entries_of(paths: Iterable[str], sizes: Mapping[str, int]) -> tuple[ManifestEntry, ...]:
    """Pair the files of a plate with their sizes, in the plate's order.

    Raises:
        Transient: ``manifest-differs`` with the first missing file and how many are missing.
    """
    listed = tuple(paths)
    missing = [path for path in listed if path not in sizes]
    if missing:
        raise failure(
            Reason.MANIFEST_DIFFERS,
            f"{len(missing)} of {len(listed)} files are not there, the first is {printable(missing[0])}",
        )
    return tuple(ManifestEntry(path, sizes[path]) for path in listed)


def _repeated(entries: tuple[ManifestEntry, ...]) -> str:
    seen: set[str] = set()
    for entry in entries:
        if entry.path in seen:
            return entry.path
        seen.add(entry.path)
    return ""
