"""Whether another program has a file open for itself: only Windows can tell.

There an instrument's software opens what it writes without sharing, so that opening it once more, sharing nothing, is
refused as long as that lasts. The file is opened for reading and nothing is changed. No state; any thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_READ: Final = 0x80000000
_SHARE_NOTHING: Final = 0
_OPEN_EXISTING: Final = 3
_SHARING_VIOLATION: Final = 32
_INVALID: Final = -1


def held_by_another(path: Path) -> bool:
    """Whether somebody has the file open; always False where the system cannot tell."""
    if os.name != "nt":
        return False
    return open_alone(str(path), getattr(ctypes, "windll").kernel32)  # noqa: B009  mypy knows it on Windows only


def open_alone(path: str, kernel32: Any, last_error: Callable[[], int] | None = None) -> bool:
    """Try to open a file without sharing it; True when that is refused because somebody has it open.

    Args:
        path: The file.
        kernel32: The library of Windows; https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew.
        last_error: What the last call failed of; that of the library by default.
    """
    handle = kernel32.CreateFileW(path, _READ, _SHARE_NOTHING, None, _OPEN_EXISTING, 0, None)
    if handle == _INVALID:
        return (last_error or kernel32.GetLastError)() == _SHARING_VIOLATION
    kernel32.CloseHandle(handle)
    return False
