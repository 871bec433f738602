"""Opens files of a share component by component, without following links, and checks them on the open descriptor.

A link that is swapped in between listing and opening, for the file or for one of its folders, is refused: no name is
looked up twice. :class:`OpenFiles` keeps the folders open that files were taken from, so that the next of thousands of
files in one folder costs one ``openat``; any number of threads may share it. Neighbours: :mod:`descriptors` below,
:mod:`listing` and :mod:`reading` beside it, the upload of a worker above.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from types import TracebackType
from typing import Final, Self

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.storage.descriptors import Handle, open_root
from fleet_common.storage.paths import check_text
from fleet_common.storage.shares import Share

MAX_OPEN_FOLDERS: Final = 64

_LINK_OR_SPECIAL: Final = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.EMLINK}


def open_regular(share: Share, path: str | PurePosixPath, *, size_bytes: int | None = None) -> io.FileIO:
    """Open one file of a share for reading.

    Args:
        share: Where the path begins.
        path: The relative path.
        size_bytes: What the manifest says, 0 or more; None where no manifest is known yet, which refuses an empty file.

    Raises:
        Permanent: ``not-a-regular-file`` for links, FIFOs, devices, sockets and folders, also as a component of the
            path; ``file-empty``; ``unsafe-path`` and ``name-refused`` as :func:`check_relative`.
        Transient: ``manifest-differs`` when the file is missing or has another size; ``share-unavailable``.
    """
    with OpenFiles(share) as files:
        return files.open(path, size_bytes=size_bytes)


class OpenFiles:
    """Opens many files of one share; used as a context manager, by any number of threads."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self._folders: OrderedDict[tuple[str, ...], Handle] = OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the folders; files that were opened stay open."""
        with self._lock:
            while self._folders:
                self._folders.popitem()[1].close()

    def open(self, path: str | PurePosixPath, *, size_bytes: int | None = None) -> io.FileIO:
        """Open one file; see :func:`open_regular`."""
        text = str(path)
        check_text(text)
        *folders, name = text.split("/")
        with self.folder(tuple(folders), text) as handle, translated(self.share, text):
            descriptor = handle.file(name)
        try:
            self._check(os.fstat(descriptor), text, size_bytes)
        except BaseException:
            os.close(descriptor)
            raise
        return io.FileIO(descriptor, "rb")

    @contextmanager
    def folder(self, components: tuple[str, ...], asked: str) -> Iterator[Handle]:
        """Lend the handle of a folder, as a duplicate that no other thread can close.

        Args:
            components: The folder, from the root of the share; checked by the caller.
            asked: The path that errors name.
        """
        with self._lock, translated(self.share, asked):
            handle = self._kept(components).duplicate()
        try:
            yield handle
        finally:
            handle.close()

    def _kept(self, components: tuple[str, ...]) -> Handle:
        if components in self._folders:
            self._folders.move_to_end(components)
            return self._folders[components]
        handle = open_folder(self.share, components)
        self._folders[components] = handle
        if len(self._folders) > MAX_OPEN_FOLDERS:
            self._folders.popitem(last=False)[1].close()
        return handle

    def _check(self, status: os.stat_result, path: str, size_bytes: int | None) -> None:
        where = f"{self.share.name}/{path}"
        if not stat.S_ISREG(status.st_mode):
            raise failure(Reason.NOT_A_REGULAR_FILE, f"{where} is a folder, FIFO or device, not a regular file")
        if size_bytes is None and status.st_size == 0:
            raise failure(Reason.FILE_EMPTY, f"{where} is empty")
        if size_bytes is not None and status.st_size != size_bytes:
            raise failure(
                Reason.MANIFEST_DIFFERS,
                f"{where} has {status.st_size} bytes here, the manifest says {size_bytes}: is it still being copied?",
            )


def open_folder(share: Share, components: tuple[str, ...]) -> Handle:
    """Open a folder of a share, component by component; the caller closes it and translates the ``OSError``."""
    handle = open_root(share.root)
    for component in components:
        try:
            inner = handle.child(component)
        finally:
            handle.close()
        handle = inner
    return handle


@contextmanager
def translated(share: Share, path: str) -> Iterator[None]:
    """Turn the ``OSError`` of opening ``path`` into the error of the fleet that says what to do."""
    try:
        yield
    except OSError as error:
        raise _failure(share, path, error) from error


@contextmanager
def unchanged(share: Share, path: str, stream: io.FileIO) -> Iterator[None]:
    """See that a file stays what it is while it is read: its hash would otherwise be that of no file that ever was.

    Raises:
        Transient: ``manifest-differs`` afterwards, if it was changed meanwhile.
    """
    before = _mark(stream)
    with translated(share, path):
        yield
    if _mark(stream) != before:
        raise failure(
            Reason.MANIFEST_DIFFERS,
            f"{printable(f'{share.name}/{path}')} was changed, replaced or removed while it was sent: is something "
            "still writing there?",
        )


def _mark(stream: io.FileIO) -> tuple[int, int, int]:
    """Size and times of an open file; a program that sets the old time again still moves the time of the inode."""
    status = os.fstat(stream.fileno())
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _failure(share: Share, path: str, error: OSError) -> RequestError:
    where = printable(f"{share.name}/{path}")
    if error.errno in _LINK_OR_SPECIAL:
        return failure(
            Reason.NOT_A_REGULAR_FILE,
            f"{where} is, or lies behind, a link or special file: only regular files are read",
        )
    if error.errno == errno.ENAMETOOLONG:
        return failure(Reason.NAME_REFUSED, f"{where} has a component that is too long for this file system")
    if error.errno == errno.ENOENT and not _looks_unmounted(share):
        return failure(Reason.MANIFEST_DIFFERS, f"{where} is not there on this host (looked below {share.root})")
    return failure(Reason.SHARE_UNAVAILABLE, f"{where} cannot be read below {share.root}: {_explained(error)}")


def _looks_unmounted(share: Share) -> bool:
    """An empty root is a mount point without its mount: everything in it would seem to be missing."""
    try:
        with os.scandir(share.root) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def _explained(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "the share's root is missing or empty; is it mounted?"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; let the user of this process read it"
    return error.strerror or type(error).__name__
