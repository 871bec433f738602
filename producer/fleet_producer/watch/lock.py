"""One watch for one state: a lock that dies with its process, on every system that SQLite runs on.

SQLite's own lock on an empty database is used, because it is the one lock that is the same on Windows and elsewhere and
needs neither ``fcntl`` nor process ids that a reboot gives to others. Threading: the thread that took it gives it back.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fleet_common.errors import UsageError
from fleet_producer.disk import make_folder

FILE: Final = "lock.sqlite3"


class Lock:
    """Held from entering to leaving.

    Args:
        folder: That of the state.

    Raises:
        UsageError: Another process has it; or the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        try:
            make_folder(self._folder)
            self._held = _take(self._folder / FILE)
        except (OSError, sqlite3.Error) as error:
            raise UsageError(_explained(self._folder, error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _take(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, timeout=0.0, isolation_level=None)
    try:
        database.execute("BEGIN EXCLUSIVE")
    except BaseException:
        database.close()
        raise
    return database


def _explained(folder: Path, error: Exception) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return f"another omero-fleet watch works with {folder}: stop it, or give this one a watch.state of its own"
    return f"{folder} cannot be used: {error}; let watch.state name a folder on a local disk"
