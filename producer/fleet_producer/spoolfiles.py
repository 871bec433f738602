"""Small helpers of the spool about files and disks: sizes, and what to do when a disk refuses. No state; any thread."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that could not be read.

    Attributes:
        name: In the folder ``bad``.
        reason: What is wrong with it.
    """

    name: str
    reason: str


class Totals(NamedTuple):
    """How much a spool holds.

    Attributes:
        requests: Waiting for a confirm or an outcome.
        bytes: Of all its files, as the quota counts them: with what was set aside, and with the reasons.
        set_aside: Files that could not be read.
    """

    requests: int
    bytes: int
    set_aside: int


def size_of(file: os.DirEntry[str]) -> int:
    """The size of a file in bytes; 0 when another process was faster and it is gone."""
    try:
        return file.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def advice(error: OSError) -> str:
    """What a person should do about a disk that refused."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "Free space on its disk, or let producer.spool name a folder on another one"
    return "Let producer.spool name a folder that this user may write to"
