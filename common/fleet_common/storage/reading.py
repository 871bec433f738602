"""What plate formats read through: names, and bytes of files, of one share.

:class:`ShareReader` is the only implementation of :class:`fleet_common.plates.Reader` outside tests. Producer and
worker both use it, so both derive the same file list. Used by one thread at a time; closing it closes the folders that
it kept open.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

from fleet_common.errors import Reason, RequestError
from fleet_common.plates.model import Names
from fleet_common.storage.listing import refused
from fleet_common.storage.opening import OpenFiles, translated
from fleet_common.storage.paths import check_text
from fleet_common.storage.shares import Share


class ShareReader:
    """Reads files and names of one share, safely; a context manager."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._files = OpenFiles(share)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def open(self, path: PurePosixPath) -> io.FileIO:
        """Open a file that is not empty; errors as :func:`fleet_common.storage.open_regular`."""
        return self._files.open(path)

    def names(self, folder: PurePosixPath) -> Names:
        """List a folder.

        Raises:
            Permanent: ``not-a-regular-file`` when a link or special file is among the names.
            Transient: ``manifest-differs`` when the folder is missing; ``share-unavailable``.
        """
        files: list[str] = []
        folders: list[str] = []
        with self._files.folder(_components(folder), str(folder)) as handle, translated(self._share, str(folder)):
            for entry in handle.scan():
                if entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    raise refused(self._share, str(folder / entry.name))
        return Names(tuple(files), tuple(folders))

    def is_folder(self, path: PurePosixPath) -> bool:
        """Whether the path is a folder; a link, a file or nothing is not."""
        try:
            with self._files.folder(_components(path), str(path)):
                return True
        except RequestError as error:
            if error.reason in (Reason.MANIFEST_DIFFERS, Reason.NOT_A_REGULAR_FILE):
                return False
            raise


def _components(folder: PurePosixPath) -> tuple[str, ...]:
    if folder.parts:
        check_text(str(folder))
    return folder.parts
