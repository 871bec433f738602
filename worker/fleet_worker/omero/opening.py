"""The calls of an upload that nobody waits for: files that are opened before their turn and closed after it.

Opening, saving and closing a small file are round trips of about ten milliseconds each, its bytes travel in two. So the
files that come next are opened while others are sent, and those that were sent are closed meanwhile. Neighbours:
:mod:`~fleet_worker.omero.upload` sends what is open. Threading: safe in any thread; Ice's own threads do the waiting.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import Any

import Ice

from fleet_common.errors import Reason, failure
from fleet_worker.omero.translate import translated


class Opening:
    """Opens the files of one import in the order of their indexes; the first one alone, before any other.

    Each opening writes the same two entries into the server's call context of the import, an unguarded map. Two at
    once, while the entries are new, may lose one of them, and the server then refuses the file with ``Setting the
    omero.logfilename value is not permitted without a secure server token!`` (``ManagedImportProcessI.getUploader`` of
    omero-blitz). Once one opening has ended the entries are there.

    Args:
        process: The server's side of the import.
        count: How many files there are.
    """

    def __init__(self, process: Any, count: int) -> None:
        self._process = process
        self._count = count
        self._lock = threading.Lock()
        self._pending: dict[int, Any] = {}
        self._next = 0
        self._one_was_opened = False

    def take(self, what: str, index: int, ahead: int) -> Any:
        """The store of a file; at most so many files after it are being opened, or are open, from then on.

        Raises:
            Transient: ``session-lost`` where the server opens no file, or what the connection says.
        """
        with self._lock:
            pending = self._pending.pop(index, None) or self._begin(what, index)
            first = None if self._one_was_opened else self._ended(what, pending)
            self._one_was_opened = True
            self._next = max(self._next, index + 1)
            while len(self._pending) < ahead and self._next < self._count:
                self._pending[self._next] = self._begin(what, self._next)
                self._next += 1
        return self._ended(what, pending) if first is None else first

    def abandon(self) -> None:
        """Close what was opened for nothing, and open nothing more; never raises, may be called again."""
        with self._lock:
            pending, self._pending = self._pending, {}
            self._next = self._count
        for one in pending.values():
            with contextlib.suppress(Ice.Exception):
                store = self._process.end_getUploader(one)
                if store is not None:
                    store.close()

    def _begin(self, what: str, index: int) -> Any:
        with translated(what):
            return self._process.begin_getUploader(index)

    def _ended(self, what: str, pending: Any) -> Any:
        with translated(what):
            store = self._process.end_getUploader(pending)
        if store is None:
            raise failure(Reason.SESSION_LOST, f"{what}: the server opens no file, its session has ended")
        return store


class Closing:
    """Files that are being closed in the background; bounded.

    They must all be closed before their session is: to close a file that was not saved, and its session at the same
    time, locks two threads of the server against each other for ever, with two of its database connections.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: deque[tuple[Any, Any]] = deque()

    def add(self, store: Any, *, keep: int) -> None:
        """Begin to close a file, and wait until at most ``keep`` are under way."""
        with contextlib.suppress(Ice.Exception):
            pending = store.begin_close()
            with self._lock:
                self._pending.append((store, pending))
        self.finish(keep=keep)

    def finish(self, *, keep: int = 0) -> None:
        """Wait until at most ``keep`` are under way."""
        while (oldest := self._oldest(keep)) is not None:
            store, pending = oldest
            # Whether the file was saved shows when it is compared; what close says changes nothing.
            with contextlib.suppress(Ice.Exception):
                store.end_close(pending)

    def _oldest(self, keep: int) -> tuple[Any, Any] | None:
        with self._lock:
            return self._pending.popleft() if len(self._pending) > keep else None
