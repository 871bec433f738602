"""The state of a watch on disk: what was seen of each plate, and what was published.

Role: what must survive the death of the process and the host. What was published is never deleted, so that a plate that
is moved away and back, or whose share was empty for a while, is not published again. A file that cannot be read is set
aside: then everything is looked at anew, and what was published gets the same request id, which OMERO holds once.
Neighbours: ``records`` for the content. Threading: one thread; one process, see ``lock``.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

import structlog

from fleet_common.errors import FleetError
from fleet_producer.disk import make_folder
from fleet_producer.watch.records import Record, from_json, to_json

FILE: Final = "state.sqlite3"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS plates (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published (
    content TEXT PRIMARY KEY, request_id TEXT NOT NULL, key TEXT NOT NULL, identity TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS published_by_key ON published (key);
"""
_SELECT: Final = "SELECT content, request_id, key, identity FROM published"
_LOG = structlog.get_logger()


class StateError(FleetError):
    """The state cannot be kept."""


class Published(NamedTuple):
    """What was published.

    Attributes:
        content: What it is, wherever it lies; see :func:`fleet_producer.watch.keeping.content_of`.
        request_id: Under which.
        key: Where it lay.
        identity: Of the measurement; empty where its format knows none.
    """

    content: str
    request_id: str
    key: str
    identity: str


class Store:
    """The state in a folder; a context manager.

    Args:
        folder: Made when it does not exist; on a local disk.

    Raises:
        StateError: It cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        with self._explained():
            make_folder(folder)
            try:
                self._database = _open(self.path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._database = self._begin_anew(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def records(self) -> Iterator[Record]:
        """What is remembered; a record of another version is left out, and its plate looked at anew."""
        with self._explained():
            rows = self._database.execute("SELECT record FROM plates ORDER BY key").fetchall()
        for (text,) in rows:
            with contextlib.suppress(ValueError):
                yield from_json(text)

    def save(self, records: Iterable[Record]) -> None:
        """Remember plates: all of them, durably, or none."""
        rows = [(record.key, to_json(record)) for record in records]
        with self._changing() as database:
            database.executemany("INSERT OR REPLACE INTO plates VALUES (?, ?)", rows)

    def forget(self, keys: Iterable[str]) -> None:
        """Plates that are not there any more; what was published stays known."""
        with self._changing() as database:
            database.executemany("DELETE FROM plates WHERE key = ?", [(key,) for key in keys])

    def published(self, content: str) -> Published | None:
        """What was published with this content; None when nothing was."""
        return self._one(f"{_SELECT} WHERE content = ?", content)

    def published_from(self, key: str) -> Published | None:
        """What was published last from this place, by the order of writing and no clock; None when nothing was."""
        return self._one(f"{_SELECT} WHERE key = ? ORDER BY rowid DESC", key)

    def publish(self, published: Published, record: Record, at: str) -> None:
        """Remember a plate as published, and what it is for ever, in one step."""
        with self._changing() as database:
            database.execute("INSERT OR REPLACE INTO published VALUES (?, ?, ?, ?, ?)", (*published, at))
            database.execute("INSERT OR REPLACE INTO plates VALUES (?, ?)", (record.key, to_json(record)))

    def _one(self, query: str, value: str) -> Published | None:
        with self._explained():
            row = self._database.execute(query, (value,)).fetchone()
        return None if row is None else Published(*row)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._explained(), self._database:
            yield self._database

    def _begin_anew(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        aside = self.path.with_name(f"{self.path.name}.damaged-{secrets.token_hex(4)}")
        self.path.replace(aside)
        for left in (self.path.with_name(f"{FILE}-journal"), self.path.with_name(f"{FILE}-wal")):
            left.unlink(missing_ok=True)
        _LOG.error("the state cannot be read and begins anew; nothing is lost", kept_as=str(aside), error=str(error))
        return _open(self.path)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StateError(
                f"the state {self.path} cannot be kept: {error}. Let watch.state name a folder on a local disk with "
                "free space, that this user may write to"
            ) from error


def _open(path: Path, connect: Callable[..., sqlite3.Connection] = sqlite3.connect) -> sqlite3.Connection:
    database = connect(path, timeout=10.0)
    try:
        # Each commit is on the disk before the next step: a plate that was noted as published is in the spool.
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(_SCHEMA)
        database.execute("SELECT count(*) FROM plates").fetchone()
    except BaseException:
        database.close()
        raise
    return database
