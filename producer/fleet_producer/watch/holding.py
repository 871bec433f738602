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

Held = Callable[[Path], bool]
_READ: Final = 0x80000000
_SHARE_NOTHING: Final = 0
_OPEN_EXISTING: Final = 3
_SHARING_VIOLATION: Final = 32
_INVALID: Final = ctypes.c_void_p(-1).value


def held_by_another(path: Path) -> bool:
    """Whether somebody has the file open; on Windows only."""
    # mypy knows both names on Windows only.
    kernel32 = kernel(getattr(ctypes, "WinDLL"))  # noqa: B009
    return open_alone(str(path), kernel32, getattr(ctypes, "get_last_error"))  # noqa: B009


ASK: Final[Held | None] = held_by_another if os.name == "nt" else None
"""How to find out on this host; None where the system cannot tell."""


def kernel(load: Callable[..., Any]) -> Any:
    """The library of Windows that opens files; handles are as wide as pointers, and errors are kept for each thread.

    Without ``use_last_error`` Python itself may make calls between ours and the question what it failed of, see
    https://docs.python.org/3/library/ctypes.html#ctypes.get_last_error.

    Args:
        load: ``ctypes.WinDLL``.
    """
    kernel32 = load("kernel32", use_last_error=True)
    text, handle, number = ctypes.c_wchar_p, ctypes.c_void_p, ctypes.c_uint32
    kernel32.CreateFileW.argtypes = (text, number, number, handle, number, number, handle)
    kernel32.CreateFileW.restype = handle
    kernel32.CloseHandle.argtypes = (handle,)
    return kernel32


def open_alone(path: str, kernel32: Any, last_error: Callable[[], int]) -> bool:
    """Try to open a file without sharing it; True when that is refused because somebody has it open.

    Args:
        path: The file.
        kernel32: The library of Windows; https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew.
        last_error: What the last call of it failed of.
    """
    handle = kernel32.CreateFileW(path, _READ, _SHARE_NOTHING, None, _OPEN_EXISTING, 0, None)
    if handle == _INVALID:
        return last_error() == _SHARING_VIOLATION
    kernel32.CloseHandle(handle)
    return False
