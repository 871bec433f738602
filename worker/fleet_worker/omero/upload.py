"""Send the files of a registered import, each read once and hashed while it is sent.

A small file is one write between an opening that began before its turn and a closing that nobody waits for, which has
the server save it; ``differing`` compares what was saved so. A larger file is saved and compared in its turn, because
to hash it takes the server a while. Neighbours: :mod:`~fleet_worker.omero.register` makes a :class:`RegisteredImport`,
:mod:`~fleet_worker.omero.opening` has the calls that run beside, :mod:`~fleet_worker.omero.running` takes over.
Threading: ``upload`` may run in many threads at once, each with another index; the server allows one call per file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

import Ice
import omero

from fleet_common.errors import Reason, RequestError, failure
from fleet_worker.omero.checksums import Hasher, hasher
from fleet_worker.omero.connection import LONG_CALL_TIMEOUT_MS, Connection
from fleet_worker.omero.facts import ChecksumsDiffer, ImportSpec, UploadedFile
from fleet_worker.omero.inplace import FilesInPlace
from fleet_worker.omero.opening import Closing, Opening
from fleet_worker.omero.running import RunningCount, RunningImport
from fleet_worker.omero.translate import translated

CHUNK_BYTES: Final = 8 * 1024 * 1024
"""The fastest on loopback with TLS; 16 and 32 MiB are slower. The server refuses messages over 64 MB."""

SENDS: Final = 3

OnBytes = Callable[[int], None]
Stop = Callable[[], None]


class RegisteredImport:
    """A fileset that waits for its files.

    Attributes:
        fileset_id: Of the fileset, known before the first byte.
    """

    def __init__(
        self, connection: Connection, spec: ImportSpec, process: Any, fileset_id: int, running: RunningCount
    ) -> None:
        self.fileset_id = fileset_id
        self._connection = connection
        self._spec = spec
        self._process = process
        self._open_process: Any | None = process
        self._running = running
        self._opening = Opening(process, len(spec.files))
        self._closing = Closing()

    @property
    def in_place(self) -> FilesInPlace:
        """Its files as the server has them, also for a transfer that makes links instead of sending them."""
        return FilesInPlace(self._connection, self._spec, self.fileset_id)

    def upload(self, index: int, stream: BinaryIO, *, on_bytes: OnBytes, stop: Stop, ahead: int = 0) -> UploadedFile:
        """Send one file; one of several chunks, if the server's hash differs from what was sent, is sent again.

        A file of one chunk is saved later: ask ``differing`` about it.

        Args:
            index: In the spec's files.
            stream: At its start; must be seekable for a second send.
            on_bytes: Told how many bytes the server took; negative before a file is sent again.
            stop: Called between chunks; raises to end the upload.
            ahead: Files after this one that may be opened meanwhile, and files before it that may still be closing.

        Raises:
            Transient: ``upload-differs`` after three sends, ``manifest-differs`` if the file has another size now, or
                what the server or the connection says.
        """
        file = self._spec.files[index]
        what = f"the upload of {file.client_path}"
        store = self._uploader(what, index, ahead)
        sending = _Sending(what, store, stream, on_bytes, stop)
        done = False
        try:
            if 0 < file.size_bytes <= CHUNK_BYTES:
                hash_hex = sending.send(file.size_bytes, hasher(self._spec.effective_algorithm))
                sent = UploadedFile(index, hash_hex, file.size_bytes)
            else:
                sent = self._saved(sending, index)
            done = True
            return sent
        finally:
            self._closing.add(store, keep=ahead if done else 0)

    def differing(self, hashes: Sequence[str]) -> tuple[int, ...]:
        """The files that the server does not hold with these hashes, by index; call it when all were sent.

        Args:
            hashes: Of all files, in the order of the spec.

        Raises:
            RequestError: The server does not say.
        """
        self._closing.finish()
        pairs = zip(self.in_place.held(), hashes, strict=True)
        return tuple(index for index, (file, hash_hex) in enumerate(pairs) if file.hash_hex != hash_hex)

    def start(self, hashes: Sequence[str]) -> RunningImport:
        """Tell the server that all files are there; it imports as soon as it has a free thread, and blocks until then.

        Args:
            hashes: Of all files, in the order of the spec.

        Raises:
            ChecksumsDiffer: The named files are not what was sent: upload them again, then start again.
            RequestError: Anything else. Unless the server refused it, the import may run all the same.
        """
        what = f"the start of the import of {self._spec.source}"
        self._closing.finish()
        self._running.begin()
        with translated(what):
            try:
                handle = self._process.ice_invocationTimeout(LONG_CALL_TIMEOUT_MS).verifyUpload(list(hashes))
            except omero.ChecksumValidationException as error:
                self._running.end()
                indexes = tuple(sorted(error.failingChecksums))
                raise ChecksumsDiffer(indexes, f"{what} failed: {len(indexes)} files are not what was sent") from error
        self.close()
        return RunningImport(self._connection, handle, self.fileset_id, self._spec.source, self._running)

    def close(self) -> None:
        """Let go of the server's side of the upload; never raises, may be called again. The fileset stays."""
        self._opening.abandon()
        self._closing.finish()
        process, self._open_process = self._open_process, None
        if process is not None:
            with contextlib.suppress(Ice.Exception):
                process.close()

    def _uploader(self, what: str, index: int, ahead: int) -> Any:
        return self._opening.take(what, index, ahead)

    def _saved(self, sending: _Sending, index: int) -> UploadedFile:
        """Send a file until the server's hash is that of what was sent."""
        size_bytes = self._spec.files[index].size_bytes
        for sends in range(1, SENDS + 1):
            if sends > 1:
                sending.rewind(size_bytes)
            hash_hex = sending.send(size_bytes, hasher(self._spec.effective_algorithm))
            began = time.monotonic()
            if sending.saved_hash() == hash_hex:
                return UploadedFile(index, hash_hex, size_bytes, sends, time.monotonic() - began)
        raise sending.differs()


class _Sending:
    """One file on its way. At most one call at a time: a file's store in the server is not reentrant."""

    def __init__(self, what: str, store: Any, stream: BinaryIO, on_bytes: OnBytes, stop: Stop) -> None:
        self._what = what
        self._store = store
        self._stream = stream
        self._on_bytes = on_bytes
        self._stop = stop
        self._pending: tuple[Any, int] | None = None

    def send(self, size_bytes: int, digest: Hasher) -> str:
        """Send all chunks and give their hash; while one travels, it is hashed and the next is read."""
        position = 0
        try:
            # One chunk too many is enough to know: a file that somebody appends to might never end.
            while position <= size_bytes and (chunk := self._stream.read(CHUNK_BYTES)):
                self._stop()
                self._arrived()
                self._begin(chunk, position)
                digest.update(chunk)
                position += len(chunk)
            self._arrived()
        finally:
            self._abandon()
        if position != size_bytes:
            raise failure(
                Reason.MANIFEST_DIFFERS,
                f"{self._what}: {position:,} bytes of the file were read, its manifest says {size_bytes:,}",
            )
        return digest.hexdigest()

    def saved_hash(self) -> str:
        """Have the server hash what it holds; may take minutes for a large file."""
        with translated(self._what):
            saved = self._store.ice_invocationTimeout(LONG_CALL_TIMEOUT_MS).save()
        return "" if saved is None or saved.hash is None else str(saved.hash.val)

    def differs(self) -> RequestError:
        """What to raise when it is no accident any more."""
        return failure(
            Reason.UPLOAD_DIFFERS, f"{self._what}: the server's hash differs from what was sent, {SENDS} times"
        )

    def rewind(self, size_bytes: int) -> None:
        """Make ready to send it again: a shorter write over a longer one would leave the end of the old."""
        self._on_bytes(-size_bytes)
        self._stream.seek(0)
        with translated(self._what):
            self._store.truncate(0)

    def _begin(self, chunk: bytes, position: int) -> None:
        with translated(self._what):
            self._pending = (self._store.begin_write(chunk, position, len(chunk)), len(chunk))

    def _arrived(self) -> None:
        if self._pending is None:
            return
        (pending, size_bytes), self._pending = self._pending, None
        with translated(self._what):
            self._store.end_write(pending)
        self._on_bytes(size_bytes)

    def _abandon(self) -> None:
        # Also when it no longer matters: the store must be idle before it is closed.
        if self._pending is not None:
            with contextlib.suppress(Ice.Exception):
                self._store.end_write(self._pending[0])
            self._pending = None
