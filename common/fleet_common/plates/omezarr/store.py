"""Finds the files of an OME-Zarr plate in one pass over its folders, and reads its metadata through them.

A file that metadata needs is listed whether it is there or not. Bio-Formats' external reader takes every file below the
top (ome/ZarrReader), so that is the fileset, but for what a writer has not finished. Does no I/O but through the reader
that it is given; used by one thread.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.plates.model import Reader
from fleet_common.plates.omezarr.metadata import Array, Array2, Array3, Attributes, Group3, PlateMeta, parsed
from fleet_common.storage.paths import join

MAX_FILES: Final = 2_000_000
MAX_DEPTH: Final = 16
MAX_JSON_BYTES: Final = 64 << 20
PARTIAL: Final = ".partial"
"""How names end that zarr-python writes under until a file is whole."""

_CHUNK_BYTES: Final = 1 << 16


class Version(enum.Enum):
    """Of Zarr."""

    V2 = 2
    V3 = 3


GROUPS: Final = {Version.V2: ".zattrs", Version.V3: "zarr.json"}
"""The file with the attributes of a group."""


class Store:
    """The files of one plate.

    Attributes:
        version: Of Zarr.
        unfinished: Whether a writer is at a file now.
    """

    def __init__(self, entry: PurePosixPath, reader: Reader) -> None:
        self._entry = entry
        self._top = entry.parent
        self._reader = reader
        self._needed: dict[str, None] = {}
        self._rows: set[PurePosixPath] = set()
        self.version = next(version for version, name in GROUPS.items() if name == entry.name)
        self._found = _bounded(self._walk(self._top, 0), self._top)
        self._chunks = _chunks_by_folder(self._found)
        self.unfinished = any(path.endswith(PARTIAL) for path in self._found)

    @property
    def files(self) -> tuple[str, ...]:
        """Every file, the entry first; those that are needed and not there, too."""
        there = {path for path in self._found if not path.endswith(PARTIAL)}
        return (str(self._entry), *sorted((there | set(self._needed)) - {str(self._entry)}))

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        return path in self._found

    def need(self, path: str) -> None:
        """Have a file missed that is not there."""
        self._needed[path] = None

    def chunks_in(self, parts: tuple[str, ...]) -> int:
        """How many chunks of an array are there."""
        return self._chunks[str(self.folder(parts))]

    def plate(self) -> PlateMeta:
        """The plate at the top.

        Raises:
            Permanent: ``format-broken``.
            Transient: ``manifest-differs`` when the entry is not there.
        """
        if self.version is Version.V2:
            self.need(str(self._top / ".zgroup"))
        attributes = self._attributes(self._read(self._entry), self._entry)
        if attributes.plate is None:
            raise failure(Reason.FORMAT_BROKEN, f"{self._entry} speaks of no plate")
        return attributes.plate

    def row(self, well: str) -> None:
        """Have the groups between the top and a well missed: those of its row."""
        for folder in list(PurePosixPath(well).parents)[:-1]:
            if folder in self._rows:
                continue
            self._rows.add(folder)
            if self.version is Version.V2:
                self.need(str(self.folder((str(folder),)) / ".zgroup"))
            else:
                self.group((str(folder),))

    def group(self, parts: tuple[str, ...]) -> Attributes | None:
        """What a group below the top says; None as long as its file is not there, or is empty."""
        folder = self.folder(parts)
        if self.version is Version.V2:
            self.need(str(folder / ".zgroup"))
        content = self._content(folder / GROUPS[self.version])
        return self._attributes(content, folder / GROUPS[self.version]) if content else None

    def array(self, parts: tuple[str, ...]) -> Array | None:
        """An array below the top; None as long as its file is not there, or is empty."""
        path = self.folder(parts) / (".zarray" if self.version is Version.V2 else "zarr.json")
        content = self._content(path)
        if not content:
            return None
        model: type[Array2 | Array3] = Array2 if self.version is Version.V2 else Array3
        array = parsed(model, content, str(path)).as_array()
        if len(array.shape) != len(array.chunks):
            raise failure(Reason.FORMAT_BROKEN, f"{path}: shape and chunks differ in their number of dimensions")
        return array

    def folder(self, parts: tuple[str, ...]) -> PurePosixPath:
        """A folder below the top.

        Raises:
            Permanent: ``unsafe-path`` and ``name-refused`` for a path that leaves it.
        """
        folder = self._top
        for part in parts:
            try:
                folder = join(folder, part)
            except RequestError as error:
                raise failure(error.reason, f"{self._entry}: {error}") from error
        return folder

    def _attributes(self, content: bytes, path: PurePosixPath) -> Attributes:
        if self.version is Version.V2:
            return parsed(Attributes, content, str(path))
        return parsed(Group3, content, str(path)).attributes.ome

    def _content(self, path: PurePosixPath) -> bytes:
        """A file of metadata, which is needed; nothing as long as it is not there, or is empty."""
        self.need(str(path))
        if not self.has(str(path)):
            return b""
        try:
            return self._read(path)
        except RequestError as error:
            if error.reason is Reason.FILE_EMPTY:
                return b""
            raise

    def _read(self, path: PurePosixPath) -> bytes:
        content = bytearray()
        with self._reader.open(path) as stream:
            while part := stream.read(_CHUNK_BYTES):
                content += part
                if len(content) > MAX_JSON_BYTES:
                    raise failure(Reason.FORMAT_BROKEN, f"{path} is larger than {MAX_JSON_BYTES} bytes")
        return bytes(content)

    def _walk(self, folder: PurePosixPath, depth: int) -> Iterator[str]:
        if depth > MAX_DEPTH:
            raise failure(Reason.FORMAT_BROKEN, f"{folder} lies more than {MAX_DEPTH} folders below the plate")
        names = self._reader.names(folder)
        prefix = f"{folder}/" if folder.parts else ""
        yield from (f"{prefix}{name}" for name in names.files)
        for name in names.folders:
            yield from self._walk(folder / name, depth + 1)


def _bounded(paths: Iterator[str], top: PurePosixPath) -> frozenset[str]:
    found = frozenset(islice(paths, MAX_FILES + 1))
    if len(found) > MAX_FILES:
        raise failure(Reason.FORMAT_BROKEN, f"{top} holds more than {MAX_FILES} files")
    return found


def _chunks_by_folder(paths: frozenset[str]) -> Counter[str]:
    """How many chunks are in every folder and all folders below it."""
    found: Counter[str] = Counter()
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name.startswith(".") or name == GROUPS[Version.V3] or name.endswith(PARTIAL):
            continue
        while folder:
            found[folder] += 1
            folder = folder.rpartition("/")[0]
    return found
