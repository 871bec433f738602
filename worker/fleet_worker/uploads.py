"""Uploads the files of one request, several at once, over a pool that all requests of a worker share.

The words are the official importer's: ``parallel_upload`` files are in flight in the whole worker. A request keeps at
most that many of its own files in the queue of the pool, and :mod:`~fleet_worker.uploadorder` says whose go first: a
plate of 100,000 files does not make a single image wait for all of them. Every file is sent while an upload slot of the
OMERO server is held, see :mod:`~fleet_worker.uploadslots`; meanwhile those that come next are opened, and those that
were sent are closed. What the server holds is compared at the end, with one query for all, and what differs is sent
again. Threads: the pool's own do the sending; the request's thread feeds and waits.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Protocol

from fleet_common.errors import Reason, failure
from fleet_common.names import printable
from fleet_common.storage import ManifestEntry, OpenFiles
from fleet_common.storage.opening import unchanged
from fleet_worker.omero.facts import UploadedFile
from fleet_worker.omero.upload import SENDS
from fleet_worker.uploadorder import Place, UploadOrder
from fleet_worker.uploadslots import UploadSlots

_WAIT_SECONDS: Final = 1.0


class Receiver(Protocol):
    """Takes files by their index: a registered import."""

    def upload(
        self, index: int, stream: io.FileIO, *, on_bytes: Callable[[int], None], stop: Callable[[], None], ahead: int
    ) -> UploadedFile:
        """Send one file; so many others may be opened or closed meanwhile."""

    def differing(self, hashes: Sequence[str]) -> Collection[int]:
        """Which files the server does not hold with these hashes, once all were sent."""


class UploadPool:
    """The upload threads of one worker.

    Args:
        parallel_upload: Files in flight at once.
        slots: Of the OMERO server, over all workers; None sends without, for tests and trials. Closed with the pool.
    """

    def __init__(self, parallel_upload: int, slots: UploadSlots | None = None) -> None:
        self._limit = parallel_upload
        self._slots = slots
        self._order = UploadOrder()
        self._pool = ThreadPoolExecutor(parallel_upload, thread_name_prefix="upload")

    def close(self) -> None:
        """Let the threads end; files in flight are finished, files that wait are given up as ``draining``."""
        if self._slots:
            self._slots.stop_waiting()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._slots:
            self._slots.close()

    def send(  # noqa: PLR0913  each is a different thing, and all are named
        self,
        files: OpenFiles,
        entries: Sequence[ManifestEntry],
        receiver: Receiver,
        *,
        limit: int | None,
        on_begin: Callable[[], None],
        on_bytes: Callable[[int], None],
        on_file: Callable[[], None],
        check: Callable[[], None],
    ) -> tuple[str, ...]:
        """Send all files and return their hashes in the order of ``entries``.

        Args:
            files: Opens them safely.
            entries: What to send.
            receiver: Where to.
            limit: At most this many files of this request in flight; None for the pool's own limit.
            on_begin: Called from this thread when it is this request's turn, before each file.
            on_bytes: Called with the bytes of each piece that was sent, from any thread.
            on_file: Called after each file, from this thread.
            check: Called often, from any thread; raises when the attempt must stop.

        Raises:
            RequestError: Of the first file that failed; no further file is begun, and those in flight end at their
                next chunk. ``manifest-differs`` where a file is another one now, or was changed while it was sent.
        """
        most = min(limit or self._limit, self._limit)
        with self._place(len(entries)) as place:
            transfer = _Transfer(files, receiver, on_bytes, check, self._slot, place, most)
            hashes = self._run(transfer, enumerate(entries), most, on_begin, on_file)
        return self._compared(transfer, entries, hashes)

    def _compared(
        self, transfer: _Transfer, entries: Sequence[ManifestEntry], hashes: dict[int, str]
    ) -> tuple[str, ...]:
        """Send again, alone, what the server does not hold as it was sent."""
        for sends in range(1, SENDS + 1):
            known = tuple(hashes[index] for index in range(len(entries)))
            differing = transfer.receiver.differing(known)
            if not differing:
                return known
            if sends < SENDS:
                hashes |= self.send_again(
                    transfer.files,
                    entries,
                    transfer.receiver,
                    differing,
                    on_bytes=transfer.on_bytes,
                    check=transfer.check,
                )
        where = printable(f"{transfer.files.share.name}/{entries[min(differing)].path}")
        raise failure(
            Reason.UPLOAD_DIFFERS,
            f"the upload of {where}: the server's hash differs from what was sent, {SENDS} times",
        )

    def send_again(  # noqa: PLR0913  as above
        self,
        files: OpenFiles,
        entries: Sequence[ManifestEntry],
        receiver: Receiver,
        indexes: Iterable[int],
        *,
        on_bytes: Callable[[int], None],
        check: Callable[[], None],
    ) -> Mapping[int, str]:
        """Send only the files with these indexes, which were sent before; returns their hashes by index.

        Before each, ``on_bytes`` hears its size as a negative number. Everything else is as in :meth:`send`.
        """
        chosen = [(index, entries[index]) for index in sorted(set(indexes))]
        for _, entry in chosen:
            on_bytes(-entry.size_bytes)
        with self._place(len(chosen)) as place:
            transfer = _Transfer(files, receiver, on_bytes, check, self._slot, place, ahead=0)
            return self._run(transfer, chosen, self._limit, _nothing, _nothing)

    @contextmanager
    def _place(self, files: int) -> Iterator[Place]:
        place = self._order.enter(files)
        try:
            yield place
        finally:
            self._order.leave(place)

    def _slot(self, check: Callable[[], None]) -> AbstractContextManager[None]:
        return self._slots.one(check) if self._slots else nullcontext()

    def _run(
        self,
        transfer: _Transfer,
        entries: Iterable[tuple[int, ManifestEntry]],
        most: int,
        on_begin: Callable[[], None],
        on_file: Callable[[], None],
    ) -> dict[int, str]:
        hashes: dict[int, str] = {}
        waiting = deque(entries)
        in_flight: dict[Future[str], int] = {}
        try:
            while waiting or in_flight:
                transfer.place.changed.clear()
                while waiting and len(in_flight) < self._order.room(transfer.place, most):
                    on_begin()
                    index, entry = waiting.popleft()
                    self._order.begin(transfer.place)
                    in_flight[self._submit(transfer, index, entry)] = index
                transfer.place.changed.wait(_WAIT_SECONDS)
                transfer.check()
                for future in [future for future in in_flight if future.done()]:
                    hashes[in_flight.pop(future)] = _result(future)
                    on_file()
            return hashes
        finally:
            transfer.over.set()
            _drain(in_flight)

    def _submit(self, transfer: _Transfer, index: int, entry: ManifestEntry) -> Future[str]:
        try:
            future = self._pool.submit(transfer.one, index, entry)
        except RuntimeError as error:
            # What the executor says once it is shut down.
            raise failure(Reason.DRAINING, "the worker stops: no file is begun any more") from error
        future.add_done_callback(lambda _: transfer.place.changed.set())
        return future


def _nothing() -> None:
    """Nobody wants to know."""


class _GivenUp(Exception):
    """Ends a file in flight whose upload nobody waits for any more."""


@dataclass(frozen=True, slots=True)
class _Transfer:
    """The upload of one request; ``one`` runs in any thread of the pool."""

    files: OpenFiles
    receiver: Receiver
    on_bytes: Callable[[int], None]
    check: Callable[[], None]
    slot: Callable[[Callable[[], None]], AbstractContextManager[None]]
    place: Place
    ahead: int
    over: threading.Event = field(default_factory=threading.Event)

    def one(self, index: int, entry: ManifestEntry) -> str:
        """Send one file and return its hash."""
        self._go_on()
        with self.slot(self._go_on):
            self._go_on()
            with self.files.open(entry.path, size_bytes=entry.size_bytes) as stream:
                return self._send(index, entry, stream)

    def _send(self, index: int, entry: ManifestEntry, stream: io.FileIO) -> str:
        with unchanged(self.files.share, entry.path, stream):
            sent = self.receiver.upload(index, stream, on_bytes=self.on_bytes, stop=self._go_on, ahead=self.ahead)
            return sent.hash_hex

    def _go_on(self) -> None:
        self.check()
        if self.over.is_set():
            raise _GivenUp


def _result(future: Future[str]) -> str:
    try:
        return future.result()
    except CancelledError as error:
        raise failure(Reason.DRAINING, "the worker stops: no file is begun any more") from error


def _drain(in_flight: Iterable[Future[str]]) -> None:
    """Wait for files that are still being sent: nobody may write to a fileset that is about to be deleted."""
    for future in in_flight:
        future.cancel()
    wait([future for future in in_flight if not future.cancelled()])
