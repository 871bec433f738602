"""Which folders and files of a watched folder are plates or images to look at: one pass over a few folders.

Nothing is opened here and no format is asked: where plates lie is a setting. Any thread.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from fleet_common.errors import Reason, RequestError
from fleet_common.names import check_component
from fleet_common.storage import OpenFiles, Share
from fleet_producer.watch.tree import entries_in


class Candidate(NamedTuple):
    """What may become a request.

    Attributes:
        share: Name of its share.
        path: Relative to the share.
        is_file: Whether it is a single file.
    """

    share: str
    path: PurePosixPath
    is_file: bool = False

    @property
    def key(self) -> str:
        """The name under which it is remembered."""
        return f"{self.share}/{self.path}"


@dataclass(frozen=True, slots=True)
class Where:
    """Where candidates lie.

    Attributes:
        share: The share.
        top: The watched folder, relative to the share.
        depth: How many folders below it the plates lie, from 1.
        plates: Whether folders are plates.
        files: Matches single files that are imported by themselves.
        ignored: Matches names of files and folders that are passed over.
    """

    share: Share
    top: PurePosixPath
    depth: int
    plates: bool
    files: re.Pattern[str]
    ignored: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Found:
    """What one pass has seen.

    Attributes:
        candidates: Everything there is now, in the order of names.
        unseen: Folders below the watched one that may not be read, as ``share/path``, and why.
    """

    candidates: list[Candidate]
    unseen: Mapping[str, str]


def find(where: Where) -> Found:
    """Everything there is now; one folder below the watched one that may not be read keeps nobody from the others.

    Raises:
        Transient: ``share-unavailable``; ``manifest-differs`` when the watched folder itself is not there.
    """
    found: list[Candidate] = []
    unseen: dict[str, str] = {}
    level = [where.top.parts]
    with OpenFiles(where.share) as files:
        for _ in range(where.depth):
            below: list[tuple[str, ...]] = []
            for folder in level:
                with _passed_over(where, folder, unseen):
                    _look_into(files, where, folder, found, below)
            level = below
    plates = level if where.plates else ()
    folders = (Candidate(where.share.name, PurePosixPath(*folder)) for folder in plates)
    return Found(sorted([*found, *folders]), unseen)


def sentence_of(error: Exception) -> str:
    """The error as people are told of it."""
    return f"{error.reason}: {error}" if isinstance(error, RequestError) else str(error)


@contextlib.contextmanager
def _passed_over(where: Where, folder: tuple[str, ...], unseen: dict[str, str]) -> Iterator[None]:
    """Below the watched folder what has gone meanwhile is no trouble, and what may not be read is one of its own."""
    try:
        yield
    except (RequestError, OSError) as error:
        below = folder != where.top.parts
        if below and isinstance(error.__cause__ or error, PermissionError):
            unseen["/".join((where.share.name, *folder))] = sentence_of(error)
        elif not (below and isinstance(error, RequestError) and error.reason is Reason.MANIFEST_DIFFERS):
            raise


def _look_into(
    files: OpenFiles, where: Where, folder: tuple[str, ...], found: list[Candidate], below: list[tuple[str, ...]]
) -> None:
    for entry in _usable(files, where, folder):
        if entry.is_dir(follow_symlinks=False):
            below.append((*folder, entry.name))
        elif where.files.match(entry.name) and entry.is_file(follow_symlinks=False):
            found.append(Candidate(where.share.name, PurePosixPath(*folder, entry.name), is_file=True))


def _usable(files: OpenFiles, where: Where, folder: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    for entry in entries_in(files, folder):
        if where.ignored.match(entry.name) or not _is_name(entry.name):
            continue
        yield entry


def _is_name(name: str) -> bool:
    """Whether the fleet can speak of it at all; plates whose inner names OMERO refuses are told when they are read."""
    try:
        check_component(name)
    except RequestError:
        return False
    return True
