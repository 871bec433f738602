"""A share in memory: what plate formats read through, fast for 100,000 names and without a file on disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from fleet_common.errors import Reason, failure
from fleet_common.plates import Names, Reader


class Memory:
    """A reader over files in memory, by their paths, which shows that a format needs nothing else.

    Args:
        files: Content by path.
        folder: Is there whether it holds files or not.
    """

    def __init__(self, files: Mapping[str, bytes], folder: str = ".") -> None:
        self.files: dict[str, bytes] = {}
        self._inside: dict[str, tuple[dict[str, None], dict[str, None]]] = {".": ({}, {})}
        self._folder(PurePosixPath(folder))
        for path, content in files.items():
            self.put(path, content)

    @classmethod
    def of(cls, root: Path) -> Memory:
        """Copy a tree of the file system, whose root stands for the share."""
        paths = (path for path in root.rglob("*") if path.is_file())
        return cls({path.relative_to(root).as_posix(): path.read_bytes() for path in paths})

    def put(self, path: str, content: bytes) -> None:
        """Write a file."""
        if path not in self.files:
            self._enter(PurePosixPath(path))
        self.files[path] = content

    def remove(self, path: str) -> None:
        """Delete a file; its folder stays."""
        del self.files[path]
        del self._inside[str(PurePosixPath(path).parent)][0][PurePosixPath(path).name]

    def change(self, path: str, *changes: tuple[str, str], encoding: str = "utf-8", count: int = 1) -> None:
        """Replace texts of a file, each of which must be in it; ``count`` times, -1 for wherever it stands."""
        text = self.files[path].decode(encoding)
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, count)
        self.put(path, text.encode(encoding))

    def _enter(self, path: PurePosixPath) -> None:
        self._folder(path.parent)[0][path.name] = None

    def _folder(self, path: PurePosixPath) -> tuple[dict[str, None], dict[str, None]]:
        if str(path) not in self._inside:
            self._inside[str(path)] = {}, {}
            self._folder(path.parent)[1][path.name] = None
        return self._inside[str(path)]

    def open(self, path: PurePosixPath) -> io.BytesIO:
        """See Reader."""
        if str(path) not in self.files:
            raise failure(Reason.MANIFEST_DIFFERS, f"{path} is not there")
        if not self.files[str(path)]:
            raise failure(Reason.FILE_EMPTY, f"{path} is empty")
        return io.BytesIO(self.files[str(path)])

    def names(self, folder: PurePosixPath) -> Names:
        """See Reader."""
        if str(folder) not in self._inside:
            raise failure(Reason.MANIFEST_DIFFERS, f"{folder} is not there")
        files, folders = self._inside[str(folder)]
        return Names(tuple(files), tuple(folders))

    def is_folder(self, path: PurePosixPath) -> bool:
        """See Reader."""
        return str(path) in self._inside

    @property
    def sizes(self) -> dict[str, int]:
        """As they would be measured."""
        return {path: len(content) for path, content in self.files.items()}


class Vanishing:
    """A reader over a share that goes away.

    Args:
        reader: Of the share.
        calls: So many are answered.
    """

    def __init__(self, reader: Reader, calls: int) -> None:
        self._reader = reader
        self._left = calls

    def __getattr__(self, name: str) -> Callable[[PurePosixPath], object]:
        def call(path: PurePosixPath) -> object:
            self._left -= 1
            if self._left < 0:
                raise failure(Reason.SHARE_UNAVAILABLE, "the share is away")
            return getattr(self._reader, name)(path)

        return call
