"""Uploads the files of one request, several at once, over a pool that all requests of a worker share.

The words are the official importer's: ``parallel_upload`` files are in flight in the whole worker. A request keeps at
most that many of its own files in the queue of the pool, so that a plate of 100,000 files does not make a single
image wait for all of them. Threads: the pool's own do the sending; the request's thread feeds and waits.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Final, Protocol

from fleet_common.storage import ManifestEntry, OpenFiles
from fleet_worker.omero.facts import UploadedFile

_WAIT_SECONDS: Final = 1.0


class Receiver(Protocol):
    """Takes files by their index: a registered import."""

    def upload(
        self, index: int, stream: io.FileIO, *, on_bytes: Callable[[int], None], stop: Callable[[], None]
    ) -> UploadedFile:
        """Send one file."""


class UploadPool:
    """The upload threads of one worker."""

    def __init__(self, parallel_upload: int) -> None:
        self._limit = parallel_upload
        self._pool = ThreadPoolExecutor(parallel_upload, thread_name_prefix="upload")

    def close(self) -> None:
        """Let the threads end; files in flight are finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def send(  # noqa: PLR0913  each is a different thing, and all are named
        self,
        files: OpenFiles,
        entries: Sequence[ManifestEntry],
        receiver: Receiver,
        *,
        limit: int | None,
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
            on_bytes: Called with the bytes of each piece that was sent, from any thread.
            on_file: Called after each file, from this thread.
            check: Called often, from any thread; raises when the attempt must stop.

        Raises:
            RequestError: Of the first file that failed; no further file is begun.
        """

        def send_one(index: int, entry: ManifestEntry) -> str:
            check()
            with files.open(entry.path, size_bytes=entry.size_bytes) as stream:
                return receiver.upload(index, stream, on_bytes=on_bytes, stop=check).hash_hex

        hashes = [""] * len(entries)
        waiting = enumerate(entries)
        in_flight: dict[Future[str], int] = {}
        room = min(limit or self._limit, self._limit)
        try:
            while True:
                for index, entry in islice(waiting, room - len(in_flight)):
                    in_flight[self._pool.submit(send_one, index, entry)] = index
                if not in_flight:
                    return tuple(hashes)
                done, _ = wait(in_flight, timeout=_WAIT_SECONDS, return_when=FIRST_COMPLETED)
                check()
                for future in done:
                    hashes[in_flight.pop(future)] = future.result()
                    on_file()
        finally:
            _drain(in_flight)


def _drain(in_flight: dict[Future[str], int]) -> None:
    """Wait for files that are still being sent: nobody may write to a fileset that is about to be deleted."""
    for future in in_flight:
        future.cancel()
    wait([future for future in in_flight if not future.cancelled()])
