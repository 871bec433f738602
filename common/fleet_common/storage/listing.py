r"""Lists a plate in one pass, and measures the files of a manifest.

Nothing is followed: a link, FIFO, device or socket ends the pass with an error that names it. Threading: functions
without state; any thread. The cost stays within three times that of ``find -printf '%p %s\n'`` on the same tree
(``python benchmarks/listing.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import check_component, printable
from fleet_common.storage.descriptors import Handle, is_link
from fleet_common.storage.manifests import ManifestEntry
from fleet_common.storage.opening import OpenFiles, open_folder, translated
from fleet_common.storage.paths import MAX_PATH_CHARACTERS, check_text
from fleet_common.storage.shares import Share

MAX_FILES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """All regular files below one folder of a share.

    Attributes:
        share: The share's name.
        folder: The folder, relative to the share.
        entries: Path relative to the share and size in bytes of each file, in no order.
    """

    share: str
    folder: str
    entries: tuple[ManifestEntry, ...]

    @property
    def bytes(self) -> int:
        """The sum of all sizes."""
        return sum(entry.size_bytes for entry in self.entries)


def list_tree(share: Share, folder: str | PurePosixPath = "", *, max_files: int = MAX_FILES) -> Listing:
    """List every file below a folder of a share in one pass, to any depth.

    Raises:
        Permanent: ``not-a-regular-file`` for the first link, FIFO, device or socket; ``name-refused`` for the first
            name that OMERO cannot keep; ``unsafe-path``, also for more than 4,096 characters; ``unsupported`` for more
            than ``max_files`` files.
        Transient: ``manifest-differs`` when the folder is missing; ``share-unavailable``.
    """
    top = "" if str(folder) == "." else str(folder)
    if top:
        check_text(top)
    entries: list[ManifestEntry] = []
    pending = [tuple(top.split("/")) if top else ()]
    while pending:
        pending.extend(_list_folder(share, pending.pop(), entries))
        if len(entries) + len(pending) > max_files:
            raise failure(
                Reason.UNSUPPORTED,
                f"{share.name}/{top} holds more than {max_files} files and folders: submit one plate at a time",
            )
    return Listing(share.name, top, tuple(entries))


def measure(share: Share, paths: Iterable[str]) -> Mapping[str, int]:
    """Find the sizes of given files of a share, with one pass over each folder that holds some of them.

    Args:
        share: Where the paths begin.
        paths: Relative paths, checked as by :func:`check_relative`.

    Returns:
        Size in bytes by path; a file that is not there is left out. See :func:`fleet_common.plates.problems`.

    Raises:
        Permanent: ``not-a-regular-file`` when one of the given files, or a folder above it, is a link or special file.
        Transient: ``share-unavailable``.
    """
    wanted: dict[str, set[str]] = {}
    for path in paths:
        check_text(path)
        folder, _, name = path.rpartition("/")
        wanted.setdefault(folder, set()).add(name)
    sizes: dict[str, int] = {}
    with OpenFiles(share) as files:
        for folder, names in wanted.items():
            _measure_folder(files, folder, names, sizes)
    return sizes


def _list_folder(share: Share, components: tuple[str, ...], entries: list[ManifestEntry]) -> list[tuple[str, ...]]:
    """Add the files of one folder to ``entries`` and return its folders."""
    prefix = "".join(f"{component}/" for component in components)
    if len(prefix) > MAX_PATH_CHARACTERS:
        raise failure(Reason.UNSAFE_PATH, f"{share.name} holds a path of more than {MAX_PATH_CHARACTERS} characters")
    inner: list[tuple[str, ...]] = []
    with translated(share, prefix):
        handle = open_folder(share, components)
        try:
            for entry in handle.scan():
                name = entry.name
                check_component(name)
                if entry.is_file(follow_symlinks=False):
                    entries.append(ManifestEntry(prefix + name, _size(entry)))
                elif entry.is_dir(follow_symlinks=False) and not _is_junction(entry):
                    inner.append((*components, name))
                else:
                    raise refused(share, prefix + name)
        finally:
            handle.close()
    return inner


def _measure_folder(files: OpenFiles, folder: str, names: set[str], sizes: dict[str, int]) -> None:
    components = tuple(folder.split("/")) if folder else ()
    try:
        with files.folder(components, folder) as handle, translated(files.share, folder):
            _measure_names(files.share, handle, folder, names, sizes)
    except RequestError as error:
        # A missing folder is many missing files, which the caller reports by well and field.
        if error.reason is not Reason.MANIFEST_DIFFERS:
            raise


def _measure_names(share: Share, handle: Handle, folder: str, names: set[str], sizes: dict[str, int]) -> None:
    prefix = f"{folder}/" if folder else ""
    for entry in handle.scan():
        if entry.name in names:
            if not entry.is_file(follow_symlinks=False):
                raise refused(share, prefix + entry.name)
            sizes[prefix + entry.name] = _size(entry)


def refused(share: Share, path: str) -> RequestError:
    """The error for a directory entry that is neither a regular file nor a folder."""
    where = printable(f"{share.name}/{path}")
    return failure(Reason.NOT_A_REGULAR_FILE, f"{where} is a link, FIFO, device or socket: only regular files are read")


def _size(entry: os.DirEntry[str]) -> int:
    return entry.stat(follow_symlinks=False).st_size


def _is_junction(entry: os.DirEntry[str]) -> bool:
    # Only Windows has folders that lead elsewhere without being links; POSIX need not pay for the question.
    return os.name == "nt" and is_link(entry.stat(follow_symlinks=False))
