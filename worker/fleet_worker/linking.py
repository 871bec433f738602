"""The transfer ``ln_s``: OMERO gets links to the files of a request instead of the files.

Links for all files are made at once. Then the files are read in batches, hashed as on their way elsewhere, written down
in OMERO, and compared by OMERO with what it sees itself. Nothing but links is made: the share is only read. Neighbours:
``uploads`` does the same by sending, :mod:`~fleet_worker.repository` makes the links. Threads: those of one request
read and tell OMERO, the attempt's own waits for them; they end with the call that started them.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from fleet_common.messages import ChecksumAlgorithm
from fleet_common.settings import Settings
from fleet_common.storage import ManifestEntry, OpenFiles
from fleet_common.storage.opening import unchanged
from fleet_worker.omero.checksums import hasher, size_hash
from fleet_worker.omero.facts import HeldFile
from fleet_worker.repository import Repository
from fleet_worker.uploadslots import UploadSlots

BATCH_FILES: Final = 100
"""Files that one thread reads before it tells OMERO: few enough to share a plate out among the threads."""
_CHUNK_BYTES: Final = 1024 * 1024


class Place(Protocol):
    """The files of a registered import in OMERO."""

    @property
    def algorithm(self) -> ChecksumAlgorithm:
        """By which OMERO knows them."""

    def held(self) -> tuple[HeldFile, ...]:
        """Where they belong, in the order of registration."""

    def record(self, held: Sequence[HeldFile], hashes: Mapping[int, str]) -> None:
        """Write what they are, and have it compared."""


class Registered(Protocol):
    """A registered import."""

    @property
    def in_place(self) -> Place:
        """Its files."""


class Links:
    """Makes links for the requests of one worker.

    Args:
        repository: Where OMERO's managed repository is mounted.
        shares: Those that are linked, each with its path in the eyes of OMERO.server.
        parallel: Batches of one request in work at once.
        slots: Of the OMERO server, held while it is told of a batch; None does so without, for tests and trials.

    Attributes:
        repository: The mount.
    """

    def __init__(
        self,
        repository: Path,
        shares: Mapping[str, PurePosixPath],
        parallel: int,
        slots: UploadSlots | None = None,
    ) -> None:
        self.repository = Repository(repository)
        self._shares, self._limit, self._slots = shares, parallel, slots

    def takes(self, share: str) -> bool:
        """Whether files of this share are linked."""
        return share in self._shares

    def send(  # noqa: PLR0913  as UploadPool.send, which it stands in for
        self,
        files: OpenFiles,
        entries: Sequence[ManifestEntry],
        receiver: Registered,
        *,
        limit: int | None,
        on_begin: Callable[[], None],
        on_bytes: Callable[[int], None],
        on_file: Callable[[], None],
        check: Callable[[], None],
    ) -> tuple[str, ...]:
        """Link all files and return their hashes in the order of ``entries``; see :meth:`UploadPool.send`.

        Raises:
            RequestError: Of the first batch that failed: ``manifest-differs`` where a file is another one than in the
                manifest, ``upload-differs`` where OMERO sees another one than this worker, ``repository-unavailable``.
        """
        on_begin()
        work = self._begin(files, entries, receiver, on_bytes, check)
        root = self._shares[files.share.name]
        self.repository.link(
            {file.path: root / entry.path for file, entry in zip(work.held, entries, strict=True)}, check
        )
        hashes = self._run(work, range(len(entries)), min(limit or self._limit, self._limit), on_file)
        return tuple(hashes[index] for index in range(len(entries)))

    def send_again(  # noqa: PLR0913  as UploadPool.send_again, which it stands in for
        self,
        files: OpenFiles,
        entries: Sequence[ManifestEntry],
        receiver: Registered,
        indexes: Iterable[int],
        *,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
    ) -> Mapping[int, str]:
        """Read only the files with these indexes again, and tell OMERO; returns their hashes by index."""
        chosen = sorted(set(indexes))
        for index in chosen:
            on_bytes(-entries[index].size_bytes)
        return self._run(self._begin(files, entries, receiver, on_bytes, check), chosen, self._limit, lambda: None)

    def _begin(
        self,
        files: OpenFiles,
        entries: Sequence[ManifestEntry],
        receiver: Registered,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
    ) -> _Work:
        place = receiver.in_place
        return _Work(files, entries, place, place.held(), on_bytes, check, self._slot)

    def _run(self, work: _Work, indexes: Sequence[int], threads: int, on_file: Callable[[], None]) -> dict[int, str]:
        hashes: dict[int, str] = {}
        with ThreadPoolExecutor(threads, thread_name_prefix="link") as pool:
            try:
                for done in pool.map(work.one, _batches(indexes, threads)):
                    hashes |= done
                    for _ in done:
                        on_file()
            finally:
                work.over.set()
        return hashes

    def _slot(self, check: Callable[[], None]) -> AbstractContextManager[None]:
        return self._slots.one(check) if self._slots else nullcontext()


def links_of(settings: Settings, slots: UploadSlots | None = None) -> Links | None:
    """The transfer as the settings say; None where they have everything uploaded."""
    place = settings.in_place
    if place.repository is None or not place.shares:
        return None
    return Links(place.repository, place.shares, settings.worker.parallel_upload, slots)


class _GivenUp(Exception):
    """Ends a batch whose request has failed already."""


@dataclass(frozen=True, slots=True)
class _Work:
    """The files of one request; ``one`` runs in any thread of the request."""

    files: OpenFiles
    entries: Sequence[ManifestEntry]
    place: Place
    held: Sequence[HeldFile]
    on_bytes: Callable[[int], None]
    check: Callable[[], None]
    slot: Callable[[Callable[[], None]], AbstractContextManager[None]]
    over: threading.Event = field(default_factory=threading.Event)

    def one(self, batch: Sequence[int]) -> dict[int, str]:
        """Hash a batch of files, and have OMERO compare it with what it sees."""
        hashes = {index: self._hash(self.entries[index]) for index in batch}
        with self.slot(self._go_on):
            self._go_on()
            self.place.record(self.held, hashes)
        return hashes

    def _hash(self, entry: ManifestEntry) -> str:
        self._go_on()
        with self.files.open(entry.path, size_bytes=entry.size_bytes) as stream:
            if self.place.algorithm is ChecksumAlgorithm.FILE_SIZE_64:
                self.on_bytes(entry.size_bytes)
                return size_hash(entry.size_bytes)
            with unchanged(self.files.share, entry.path, stream):
                return self._read(stream)

    def _read(self, stream: io.FileIO) -> str:
        digest = hasher(self.place.algorithm)
        left = os.fstat(stream.fileno()).st_size
        # No further than its size when it was opened: a file that somebody appends to might never end.
        while left > 0 and (chunk := stream.read(min(left, _CHUNK_BYTES))):
            self._go_on()
            digest.update(chunk)
            self.on_bytes(len(chunk))
            left -= len(chunk)
        return digest.hexdigest()

    def _go_on(self) -> None:
        self.check()
        if self.over.is_set():
            raise _GivenUp


def _batches(indexes: Sequence[int], threads: int) -> Iterator[Sequence[int]]:
    """Of a size that gives every thread something to do."""
    size = max(1, min(BATCH_FILES, -(-len(indexes) // threads)))
    return (indexes[start : start + size] for start in range(0, len(indexes), size))
