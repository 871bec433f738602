"""Lists a plate in one pass and keeps a few numbers of it, however many files it has.

Unlike :func:`fleet_common.storage.list_tree` it refuses nothing: a link or a strange name in a folder that is being
written is no verdict yet, that comes when the plate is read. Links are counted and not followed. Threading: functions
without state; any thread.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.names import printable
from fleet_common.storage import OpenFiles, Share
from fleet_common.wholeness import nothing
from fleet_producer.completeness import Mark

MAX_DEPTH: Final = 32
MAX_TOLD: Final = 10
_NAMES: Final = 1 << 64


@dataclass
class Listing:
    """One pass over a folder.

    Attributes:
        files: How many there are.
        bytes: The sum of their sizes.
        newest_ns: The latest time of modification.
        names: A checksum over all paths, in any order.
        temporary: The first names that somebody is still writing.
    """

    files: int = 0
    bytes: int = 0
    newest_ns: int = 0
    names: int = 0
    temporary: list[str] = field(default_factory=list)

    def add(self, status: os.stat_result, checksum: int) -> None:
        """Count one file."""
        self.files += 1
        self.bytes += status.st_size
        self.newest_ns = max(self.newest_ns, status.st_mtime_ns)
        self.names = (self.names + checksum) % _NAMES

    def mark(self) -> Mark:
        """The listing in a few numbers."""
        return Mark(self.files, self.bytes, self.newest_ns, self.names)


def pattern_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for names with ``*`` and ``?``, in any letter case; no name matches none of them."""
    return re.compile("|".join(map(translate, names)) if names else r"(?!)", re.IGNORECASE)


def list_plate(
    share: Share, folder: PurePosixPath, temporary: re.Pattern[str], each: Callable[[], None] = nothing
) -> Listing:
    """List every file below a folder in one pass.

    Args:
        share: Where the folder is.
        folder: Relative to the share.
        temporary: Matches the names of files that are still being written.
        each: Called before each folder; what it raises ends the work.

    Raises:
        Permanent: ``unsupported`` for folders that lie more than 32 deep; ``unsafe-path``.
        Transient: ``manifest-differs`` when the folder is not there; ``share-unavailable``.
    """
    listing = Listing()
    pending = [folder.parts]
    with OpenFiles(share) as files:
        while pending:
            each()
            pending.extend(_list_folder(files, pending.pop(), listing, temporary))
            if pending and len(pending[-1]) > len(folder.parts) + MAX_DEPTH:
                raise failure(Reason.UNSUPPORTED, f"{share.name}/{folder} has folders more than {MAX_DEPTH} deep")
    return listing


def _list_folder(
    files: OpenFiles, components: tuple[str, ...], listing: Listing, temporary: re.Pattern[str]
) -> Iterator[tuple[str, ...]]:
    """Count the files of one folder and return its folders."""
    inner: list[tuple[str, ...]] = []
    prefix = zlib.crc32("/".join(components).encode("utf-8", "surrogateescape"))
    for entry in entries_in(files, components):
        try:
            if entry.is_dir(follow_symlinks=False):
                inner.append((*components, entry.name))
                continue
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            # It was deleted or renamed while the folder was read: the next look will see another listing.
            continue
        listing.add(status, zlib.crc32(entry.name.encode("utf-8", "surrogateescape"), prefix))
        if temporary.match(entry.name) and len(listing.temporary) < MAX_TOLD:
            listing.temporary.append(entry.name)
    return iter(inner)


def entries_in(files: OpenFiles, components: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    """The names in one folder.

    Raises:
        Transient: ``share-unavailable`` for whatever the storage says in the middle of it, or as
            :meth:`OpenFiles.folder`.
    """
    where = "/".join(components)
    with files.folder(components, where) as handle:
        try:
            yield from handle.scan()
        except OSError as error:
            raise away(files.share, where, error) from error


def away(share: Share, where: str, error: OSError) -> RequestError:
    """The error for storage that failed in the middle of something."""
    return failure(Reason.SHARE_UNAVAILABLE, f"{printable(f'{share.name}/{where}')} cannot be read: {error}")
