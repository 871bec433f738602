"""The one place that knows how an operating system opens things without following links.

Two ways behind the same functions:

- POSIX: each component is opened relative to the descriptor of its folder, with ``O_NOFOLLOW``. Nothing can be swapped
  between check and use, because there is no gap between them.
- Elsewhere (Windows, for producers): Python has neither ``dir_fd`` nor ``O_NOFOLLOW`` there. The components are checked
  with ``lstat`` for links, junctions and other reparse points, the file is opened, and its identity on the open
  descriptor is compared with a second ``lstat`` of the path, whose folders are checked once more. A link that exists
  for less than that moment and leads to the very same file is all that passes, and it gains nothing.

A folder is closed by whoever opened it; a folder and its duplicates may be used by any thread. :mod:`opening` turns the
``OSError`` of these functions into the errors of the fleet.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

POSIX: Final = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")

_FOLDER_FLAGS: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
# O_NONBLOCK: opening a FIFO must not wait for its writer. O_BINARY: Windows would translate line ends.
_FILE_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
_REPARSE_POINT: Final = 0x400


class Handle(Protocol):
    """An open folder of the operating system."""

    def child(self, name: str) -> Handle:
        """Open a folder in this one; a link is ``ENOTDIR`` or ``ELOOP``."""

    def file(self, name: str) -> int:
        """Open a file in this folder for reading and return its descriptor; a link is ``ELOOP``."""

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """Go once through the names in this folder."""

    def duplicate(self) -> Handle:
        """Another handle of the same folder, closed on its own."""

    def close(self) -> None:
        """Give the handle back to the operating system."""


class PosixHandle:
    """A folder by its descriptor."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def of(cls, root: Path) -> PosixHandle:
        """Open the root of a share, which may be a link: the administrator chose it."""
        return cls(os.open(root, _FOLDER_FLAGS))

    def child(self, name: str) -> PosixHandle:
        """See :class:`Handle`."""
        return PosixHandle(os.open(name, _FOLDER_FLAGS | _NO_LINK, dir_fd=self._descriptor))

    def file(self, name: str) -> int:
        """See :class:`Handle`."""
        return os.open(name, _FILE_FLAGS | _NO_LINK, dir_fd=self._descriptor)

    def link(self, name: str, target: str) -> bool:
        """Make a symbolic link in this folder; False where something else has its name, which stays as it is."""
        try:
            os.symlink(target, name, dir_fd=self._descriptor)
        except FileExistsError:
            return self._leads_to(name, target)
        return True

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """See :class:`Handle`."""
        # A descriptor of its own: duplicates share their position, and two threads would each get half of the names.
        descriptor = os.open(".", _FOLDER_FLAGS, dir_fd=self._descriptor)
        try:
            with os.scandir(descriptor) as entries:
                yield from entries
        finally:
            os.close(descriptor)

    def _leads_to(self, name: str, target: str) -> bool:
        try:
            return os.readlink(name, dir_fd=self._descriptor) == target
        except OSError as error:
            if error.errno == errno.EINVAL:
                return False
            raise

    def duplicate(self) -> PosixHandle:
        """See :class:`Handle`."""
        return PosixHandle(os.dup(self._descriptor))

    def close(self) -> None:
        """See :class:`Handle`."""
        os.close(self._descriptor)


class PathHandle:
    """A folder by its path, for systems that cannot open relative to a descriptor."""

    __slots__ = ("_folders", "_path")

    def __init__(self, path: Path, folders: tuple[Path, ...]) -> None:
        self._path = path
        self._folders = folders

    @classmethod
    def of(cls, root: Path) -> PathHandle:
        """Start at the root of a share."""
        if not root.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(root))
        return cls(root, ())

    def child(self, name: str) -> PathHandle:
        """See :class:`Handle`."""
        path = self._path / name
        _require_folder(path)
        return PathHandle(path, (*self._folders, path))

    def file(self, name: str) -> int:
        """See :class:`Handle`."""
        path = self._path / name
        _require_file(path)
        descriptor = os.open(path, _FILE_FLAGS)
        try:
            self._confirm(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def scan(self) -> Iterator[os.DirEntry[str]]:
        """See :class:`Handle`."""
        with os.scandir(self._path) as entries:
            yield from entries

    def duplicate(self) -> PathHandle:
        """See :class:`Handle`."""
        return self

    def close(self) -> None:
        """Nothing is held."""

    def _confirm(self, path: Path, descriptor: int) -> None:
        for folder in self._folders:
            _require_folder(folder)
        _require_file(path)
        if not os.path.samestat(path.lstat(), os.fstat(descriptor)):
            raise OSError(errno.ELOOP, "was exchanged while it was opened", str(path))


def open_root(root: Path) -> Handle:
    """Open the root of a share in the best way that this system has.

    Raises:
        OSError: It is not there, or may not be entered.
    """
    return PosixHandle.of(root) if POSIX else PathHandle.of(root)


def is_link(status: os.stat_result) -> bool:
    """Whether a status by ``lstat`` shows a link, a junction or another reparse point."""
    return stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_file_attributes", 0) & _REPARSE_POINT)


def _require_folder(path: Path) -> None:
    status = path.lstat()
    if is_link(status) or not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def _require_file(path: Path) -> None:
    status = path.lstat()
    if is_link(status):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), str(path))
