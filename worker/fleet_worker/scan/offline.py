"""Starts a program that can open no socket: ``python -I offline.py java ...``.

A seccomp filter has the kernel refuse the system calls that would, in the program and in all that it starts; nobody can
take it off again. It also refuses those that take memory and descriptors of other processes, such as the worker's. It
needs no privilege, and the default profiles of container runtimes, which forbid namespaces (``unshare``), let it be
set. Ends without starting anything where it cannot be set. Linux on x86-64 and arm64.

Run as a script by a Python that is told to look at nothing else, so it imports nothing of the fleet.
See https://docs.kernel.org/userspace-api/seccomp_filter.html; numbers are those of asm/unistd.h and linux/audit.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final, NamedTuple


class _Machine(NamedTuple):
    """A kind of processor: its name for the kernel's audit, and the system calls that are refused."""

    audit: int
    refused: tuple[int, ...]


# socket, io_uring_setup, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, (41, 425, 101, 310, 311, 438)),
    "aarch64": _Machine(0xC00000B7, (198, 425, 117, 270, 271, 438)),
}
_OTHER_CALLS: Final = 0x40000000
"""From here on x86-64 has the same calls once more, for programs of 32-bit pointers."""

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x80000000
_CALL_AT, _AUDIT_AT = 0, 4
_STEP: Final = struct.Struct("=HBBI")
"""``struct sock_filter``."""

_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def steps_for(machine: str) -> bytes:
    """The filter as the kernel wants it, 8 bytes a step.

    Raises:
        KeyError: The numbers of this kind of processor are not known.
    """
    audit, refused = _MACHINES[machine]
    many = len(refused)
    steps = [
        (_LOAD, 0, 0, _AUDIT_AT),
        (_IF_EQUAL, 0, many + 4, audit),
        (_LOAD, 0, 0, _CALL_AT),
        (_IF_AT_LEAST, many + 1, 0, _OTHER_CALLS),
        *((_IF_EQUAL, many - place, 0, call) for place, call in enumerate(refused)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _KILL),
    ]
    return b"".join(_STEP.pack(*step) for step in steps)


def close_the_door() -> None:
    """Set the filter for this process and all that it starts.

    Raises:
        OSError: The kernel refuses it, or its numbers are not known here.
    """
    if not sys.platform.startswith("linux") or platform.machine() not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no filter is known for {sys.platform} on {platform.machine()}")
    steps = steps_for(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps) // _STEP.size, steps)
    for option, *values in ((_SET_NO_NEW_PRIVILEGES, 1, 0), (_SET_SECCOMP, _FILTER, ctypes.byref(program))):
        if libc.prctl(option, *values, 0, 0):
            number = ctypes.get_errno()
            raise OSError(number, f"the kernel sets no filter: {os.strerror(number)}")


def main(arguments: list[str]) -> None:
    """Become the program that the arguments name."""
    try:
        close_the_door()
        os.execvp(arguments[0], arguments)  # noqa: S606  the worker says what to start
    except OSError as error:
        sys.exit(f"{error.strerror or error}")


if __name__ == "__main__":
    main(sys.argv[1:])
