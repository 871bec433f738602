r"""What the root of a share means on this host: a drive letter, a UNC name, or a place in one tree.

A drive letter belongs to the login session that mapped it: a service does not see it, so that a watch that works by
hand does not work as a service. A name such as ``\\nas\hcs`` means the same to both. Pure, but for :func:`look`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Final

_LETTER: Final = (
    "a drive letter belongs to one login session, so that a service may not see it: write the share as "
    r"\\server\share"
)
_RELATIVE: Final = "it is relative to the folder in which the command is called: write the whole path"
_DEVICE_PREFIXES: Final = ("\\\\?\\", "\\\\.\\")


@dataclass(frozen=True, slots=True)
class Root:
    """What is known of a root.

    Attributes:
        share: Name of the share.
        path: As in the settings.
        kind: ``drive letter``, ``UNC name``, ``folder`` or ``relative``.
        problem: Why it cannot be used; empty when it can.
        remark: What one should know of it; empty for nothing.
        entries: How many names are in it.
        seconds: How long it took to list them.
        free_bytes: Free space where it lies.
    """

    share: str
    path: str
    kind: str
    problem: str = ""
    remark: str = ""
    entries: int = 0
    seconds: float = 0.0
    free_bytes: int = 0


def kind_of(path: PurePath) -> tuple[str, str]:
    """What kind of place a path names, and what one should know of it."""
    if not path.is_absolute():
        return "relative", _RELATIVE
    if not isinstance(path, PureWindowsPath):
        return "folder", ""
    drive = path.drive
    for prefix in _DEVICE_PREFIXES:
        drive = drive.removeprefix(f"{prefix}UNC").removeprefix(prefix)
    return ("UNC name", "") if "\\" in drive else ("drive letter", _LETTER)


def look(share: str, path: Path, monotonic: Callable[[], float] = time.monotonic) -> Root:
    """Look at a root on this host."""
    kind, remark = kind_of(path)
    began = monotonic()
    try:
        with os.scandir(path) as found:
            entries = sum(1 for _ in found)
        free_bytes = shutil.disk_usage(path).free
    except OSError as error:
        return Root(share, str(path), kind, _explained(error), remark)
    problem = "" if entries else "it is empty, as a mount point without its mount is"
    return Root(share, str(path), kind, problem, remark, entries, monotonic() - began, free_bytes)


def _explained(error: OSError) -> str:
    return f"it cannot be listed: {error.strerror or type(error).__name__}"
