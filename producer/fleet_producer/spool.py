"""The spool: keeps every request on this host's disk from before it is published until its outcome is known.

Role: what a producer has promised survives its own death, that of the broker's queues, and a full disk. Neighbours:
``slips`` knows the names and contents, ``disk`` the steps of a durable write, ``sending`` publishes what is here.
Threading: no locks. Every writing has a file of its own and every change is one rename or unlink, so any number of
threads and processes may work on one spool; who comes second finds the file gone and does nothing.

::

    <spool>/.omero-fleet-spool       says that this folder is a spool
    <spool>/<id>.<digest>.pending.json | .sent-<milliseconds>.json
    <spool>/bad/<name>~<token>       what could not be read, beside <name>~<token>.reason
"""

from __future__ import annotations

import contextlib
import os
import secrets
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fleet_common.errors import FleetError, UsageError
from fleet_common.messages import ImportRequest
from fleet_producer.disk import TEMPORARY, make_folder, sync_folder, write_all, write_whole
from fleet_producer.slips import Damaged, Entry, Slip, is_one_of, is_pending, new_entry, read_entry
from fleet_producer.spoolfiles import SetAside, Totals, advice, size_of

MARK: Final = ".omero-fleet-spool"
BAD: Final = "bad"
_REASON: Final = ".reason"
_LEFT_OVER_SECONDS: Final = 3600.0
"""A temporary file that is older was left by a process that died: nobody takes so long to write one request."""


class SpoolError(FleetError):
    """The spool cannot keep what it is given; nothing was published of it."""


def now_utc() -> datetime:
    """The present time of this host."""
    return datetime.now(UTC)


class Spool:
    """A folder with one file for each request; made when the first request comes.

    Args:
        folder: Where.
        quota_bytes: How much it may hold in all.
        clock: The present time, in UTC.
    """

    def __init__(self, folder: Path, quota_bytes: int, clock: Callable[[], datetime] = now_utc) -> None:
        self.folder = folder
        self._quota_bytes = quota_bytes
        self._clock = clock

    def add(self, requests: Iterable[ImportRequest]) -> list[Entry]:
        """Keep requests as pending: all of them, durably, or none.

        An entry that was there for the same request id is replaced, for the newer one says what is wanted now.

        Raises:
            SpoolError: No room, no right, or the disk failed.
            UsageError: The folder holds something else.
        """
        entries = [new_entry(request) for request in requests]
        with self._explained():
            self._open()
            older = list(self.slips())
            self._check_room(sum(len(entry.body) for entry in entries))
            self._write_all(entries, {slip.name for slip in older})
            self._replace(older, entries)
        return entries

    def slips(self) -> Iterator[Slip]:
        """What the names say, in no order; nothing is read or moved, and what is no request is passed over."""
        for found in self._files():
            with contextlib.suppress(Damaged):
                yield Slip.parse(found.name)

    def entries(self) -> list[Entry]:
        """Every request, oldest first; what cannot be read is set aside, and so are left-over temporary files.

        Raises:
            SpoolError: The folder cannot be read.
            UsageError: The folder holds something else.
        """
        return self._read_all(lambda _name: True)

    def pending(self) -> list[Entry]:
        """What the broker has not confirmed, oldest first; nothing else is read, however much was sent.

        Raises:
            SpoolError: The folder cannot be read.
            UsageError: The folder holds something else.
        """
        return self._read_all(is_pending)

    def chosen(self, wanted: Collection[Slip]) -> list[Entry]:
        """Those of some requests, by their slips before any confirm, that are there; nothing else is read.

        Raises:
            SpoolError: The folder cannot be read.
        """
        return self._read_all(lambda name: is_one_of(name, wanted))

    def sent(self, request_id: uuid.UUID) -> list[Entry]:
        """What was written for one request and confirmed.

        Raises:
            SpoolError: The folder cannot be read.
        """
        return self._read_all(lambda name: name.startswith(f"{request_id}.") and not is_pending(name))

    def totals(self) -> Totals:
        """How much it holds, by names, sizes and what was said of bad ones.

        Raises:
            SpoolError: The folder cannot be read.
        """
        with self._explained():
            return Totals(len(list(self.slips())), self._held_bytes(), len(self.set_aside()))

    def mark_sent(self, entry: Entry) -> Entry:
        """Note that the broker has confirmed it, now; without effect on what another process removed or replaced.

        Raises:
            SpoolError: The disk failed; the entry stays as it was.
        """
        sent = replace(entry, slip=entry.slip.sent(self._clock()))
        with self._explained(), contextlib.suppress(FileNotFoundError):
            os.replace(self.folder / entry.slip.name, self.folder / sent.slip.name)  # noqa: PTH105  as in disk.py
        return sent

    def remove(self, entry: Entry) -> None:
        """Forget a request whose outcome is known, also when another process has sent it again meanwhile.

        Raises:
            SpoolError: The disk failed; the entry stays.
        """
        with self._explained():
            try:
                os.unlink(self.folder / entry.slip.name)  # noqa: PTH108  as in disk.py
            except FileNotFoundError:
                for slip in filter(entry.slip.same_writing, list(self.slips())):
                    (self.folder / slip.name).unlink(missing_ok=True)

    def set_aside(self) -> list[SetAside]:
        """What could not be read, and why."""
        with self._explained():
            if not (self.folder / BAD).is_dir():
                return []
            names = sorted(os.listdir(self.folder / BAD))  # noqa: PTH208  names are all that is needed
            return [SetAside(name, self._reason(name)) for name in names if not _is_about(name)]

    def restore(self, name: str) -> list[Entry]:
        """Take back what was set aside under this name, if it can be read now; else nothing, and it stays there.

        Raises:
            SpoolError: The disk failed.
        """
        path = self.folder / BAD / name
        with self._explained(), contextlib.suppress(FileNotFoundError, Damaged):
            entry = self._load(path, Slip.parse(name.rpartition("~")[0]))
            os.replace(path, self.folder / entry.slip.name)  # noqa: PTH105  as in disk.py
            self.drop_aside(name)
            return [entry]
        return []

    def drop_aside(self, name: str) -> None:
        """Delete a file that was set aside."""
        with self._explained():
            (self.folder / BAD / name).unlink(missing_ok=True)
            (self.folder / BAD / f"{name}{_REASON}").unlink(missing_ok=True)

    # --- writing ---

    def _write_all(self, entries: Sequence[Entry], there: Collection[str]) -> None:
        try:
            write_all(self.folder, [(entry.slip.name, entry.body) for entry in entries])
            sync_folder(self.folder)
        except BaseException:
            # None of them was promised to anybody; a process that is killed here leaves whole, publishable requests.
            # What was there under the same name was promised before, and has the same content.
            for name in {entry.slip.name for entry in entries}.difference(there):
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink(missing_ok=True)
            raise

    def _replace(self, older: Sequence[Slip], entries: Sequence[Entry]) -> None:
        """Remove what was there before; of two processes with one request each sees only what it came after."""
        names, ids = {entry.slip.name for entry in entries}, {entry.request_id for entry in entries}
        for slip in older:
            if slip.request_id in ids and slip.name not in names:
                (self.folder / slip.name).unlink(missing_ok=True)

    def _check_room(self, more_bytes: int) -> None:
        held = self._held_bytes()
        if held + more_bytes > self._quota_bytes:
            raise SpoolError(
                f"the spool {self.folder} holds {held:,} bytes and may not hold {more_bytes:,} more: resend, settle or "
                f"drop what omero-fleet spool list shows, or raise producer.spool_quota_bytes ({self._quota_bytes:,})"
            )

    def _held_bytes(self) -> int:
        aside = self.folder / BAD
        return sum(map(size_of, self._files())) + (sum(map(size_of, os.scandir(aside))) if aside.is_dir() else 0)

    def _open(self) -> None:
        """Make the folder, or check that it is a spool: what is in a spool and no request is moved, so it must be."""
        mark = self.folder / MARK
        if mark.exists():
            return
        make_folder(self.folder)
        others = [name for name in os.listdir(self.folder) if not name.startswith(TEMPORARY)]  # noqa: PTH208  as above
        # Another process may have begun the same spool between the two looks.
        if others and not mark.exists():
            raise UsageError(
                f"{self.folder} holds other files ({', '.join(sorted(others)[:3])}): let producer.spool name a folder "
                "that is empty or does not exist yet"
            )
        write_whole(self.folder, MARK, b"1\n")

    # --- reading ---

    def _read_all(self, wanted: Callable[[str], bool]) -> list[Entry]:
        with self._explained():
            if not self.folder.is_dir():
                return []
            self._open()
            found = [entry for file in list(self._files()) if wanted(file.name) for entry in self._read(file)]
        return sorted(found, key=lambda entry: (entry.request.submitted_at, entry.slip.name))

    def _files(self) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as found:
            yield from (file for file in found if file.name != MARK and file.is_file(follow_symlinks=False))

    def _read(self, file: os.DirEntry[str]) -> Iterator[Entry]:
        """The entry in a file; nothing when it is none, or another process was faster."""
        try:
            if file.name.startswith("."):
                self._judge_hidden(file)
                return
            yield self._load(self.folder / file.name, Slip.parse(file.name))
        except FileNotFoundError:
            return
        except Damaged as error:
            self._put_aside(file.name, str(error))

    def _judge_hidden(self, file: os.DirEntry[str]) -> None:
        """Hidden files belong to file systems and desktops, and temporary ones to whoever is writing them."""
        age_seconds = self._clock().timestamp() - file.stat(follow_symlinks=False).st_mtime
        if file.name.startswith(TEMPORARY) and age_seconds > _LEFT_OVER_SECONDS:
            raise Damaged("it was never finished: its writer died before anything was published")

    def _load(self, path: Path, slip: Slip) -> Entry:
        return read_entry(slip, path.read_bytes())

    def _put_aside(self, name: str, reason: str) -> None:
        aside = self.folder / BAD
        aside.mkdir(mode=0o700, exist_ok=True)
        there = f"{name.lstrip('.')}~{secrets.token_hex(4)}"
        write_whole(aside, f"{there}{_REASON}", reason.encode())
        try:
            os.replace(self.folder / name, aside / there)  # noqa: PTH105  as in disk.py
        except FileNotFoundError:
            (aside / f"{there}{_REASON}").unlink(missing_ok=True)

    def _reason(self, name: str) -> str:
        try:
            return (self.folder / BAD / f"{name}{_REASON}").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "unknown"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolError(f"the spool {self.folder} failed: {error}. {advice(error)}") from error


def _is_about(name: str) -> bool:
    return name.endswith(_REASON) or name.startswith(TEMPORARY)
