"""Writes small files that are whole or not there, whatever dies meanwhile.

Role: the steps on which the spool's promise rests, in the order of LWN's "Ensuring data reaches disk": temporary file,
fsync, rename, fsync of the folder. Neighbours: ``spool``. Threading: no state; any thread, any number of processes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".tmp-"
"""How names of files begin that are being written; a reader must pass over them."""
_WRITERS: Final = 16
_MANY: Final = 8

# Windows would translate line ends otherwise; elsewhere there is no such flag.
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def write_whole(folder: Path, name: str, content: bytes) -> None:
    """Write a file that appears under its name only when all of it is on the disk.

    The name itself is durable after :func:`sync_folder`, which is left to the caller: once for many files.

    Raises:
        OSError: It could not be written; then there is no new file, and an older one of that name stays as it was.
    """
    temporary = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        _write(temporary, content)
        os.replace(temporary, folder / name)  # noqa: PTH105  one of the steps that tests interrupt by name
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_all(folder: Path, contents: Sequence[tuple[str, bytes]]) -> None:
    """Write many files as :func:`write_whole`, several at once: the file system syncs them together then.

    Raises:
        OSError: Of the first that could not be written; the others may be there.
    """
    if len(contents) < _MANY:
        for name, content in contents:
            write_whole(folder, name, content)
        return
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="spool") as pool:
        for done in [pool.submit(write_whole, folder, name, content) for name, content in contents]:
            done.result()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; without effect on Windows, which opens no folders and journals names itself.

    Raises:
        OSError: The disk refused.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, with the folders above it, all durable.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, _FLAGS, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
