"""The server's part of one attempt: start it, send again what arrived damaged, wait, and cancel it.

Neighbours: the attempt has uploaded everything before, and verifies afterwards. Runs on the attempt's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from fleet_common.errors import Cancelled, RequestError
from fleet_common.events import Phase
from fleet_common.storage import OpenFiles
from fleet_worker.checks import Checks
from fleet_worker.files import FilesHere
from fleet_worker.omero.facts import ChecksumsDiffer, ImportOutcome
from fleet_worker.omero.running import RunningImport
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.upload import RegisteredImport
from fleet_worker.parts import Parts
from fleet_worker.reporting import Reporter
from fleet_worker.slots import leave_to_start, slot

_LOG = structlog.get_logger()
_REPAIRS: Final = 3
ANNOUNCED_FROM_FILES: Final = 10
"""To start an import of so many files takes the server longer than to write on it that it is about to be started."""


class ServerSide:
    """What the server does with one registered import.

    Attributes:
        fileset_id: Of the fileset.
        hashes: Of what the server holds, in the order of the files.
        may_run: Whether the server may be at it, so that nobody may delete it.
    """

    def __init__(  # noqa: PLR0913  what is imported, with whose session, and how it is told and stopped
        self,
        parts: Parts,
        registered: RegisteredImport,
        files: FilesHere,
        reporter: Reporter,
        check: Checks,
        *,
        session: OwnerSession,
    ) -> None:
        self.fileset_id = registered.fileset_id
        self.hashes: tuple[str, ...] = ()
        self.may_run = False
        self._parts, self._session, self._registered, self._files = parts, session, registered, files
        self._report, self._check = reporter, check

    def run(self) -> ImportOutcome:
        """Have everything imported that was uploaded; ``hashes`` says what.

        Raises:
            RequestError: It was not imported; ``may_run`` says whether it still may be.
        """
        self._report.enter(Phase.QUEUED)
        with slot(self._parts, "import", self._check), self._started() as running:
            done = self._wait(running)
        for phase, seconds in done.seconds.items():
            self._report.took(phase, seconds)
        return done

    @contextmanager
    def _started(self) -> Iterator[RunningImport]:
        running = self._start()
        try:
            yield running
        finally:
            self.may_run = not running.finished
            running.close()

    def _start(self) -> RunningImport:
        """Let the server compare all hashes; what differs is sent again, alone."""
        repairs = 0
        while True:
            try:
                return self._begin()
            except ChecksumsDiffer as error:
                # Refused, so nothing runs.
                self.may_run = False
                if repairs == _REPAIRS:
                    raise
                repairs += 1
                self._send_again(error.indexes)

    def _begin(self) -> RunningImport:
        """Start within the gate; an import that the server takes long to accept is counted there, and started after.

        Before 5.6.11 the server asks its database for the hash of each file, while others would wait at the gate.
        """
        with leave_to_start(self._parts, self._check, self.fileset_id):
            if len(self._files.entries) < ANNOUNCED_FROM_FILES:
                return self._accepted()
            self._session.announce(self.fileset_id)
        return self._accepted()

    def _accepted(self) -> RunningImport:
        self.may_run = True
        return self._registered.start(self.hashes)

    def _send_again(self, indexes: tuple[int, ...]) -> None:
        with OpenFiles(self._files.share) as opened:
            again = self._parts.sender(self._files.share.name).send_again(
                opened,
                self._files.entries,
                self._registered,
                indexes,
                on_bytes=self._report.add_bytes,
                check=self._check,
            )
        self.hashes = tuple(again.get(index, known) for index, known in enumerate(self.hashes))

    def _wait(self, running: RunningImport) -> ImportOutcome:
        try:
            return self._listen(running, self._check)
        except Cancelled as cancelled:
            return self._cancel(running, cancelled)

    def _cancel(self, running: RunningImport, cancelled: Cancelled) -> ImportOutcome:
        """Have the server stop; what it had finished before it heard of it stays, and is the result."""
        _LOG.info("cancelling in the server", accepted=running.cancel())
        try:
            return self._listen(running, self._check.held)
        except RequestError as error:
            if running.finished:
                raise cancelled from error
            raise

    def _listen(self, running: RunningImport, stop: Callable[[], None]) -> ImportOutcome:
        return running.wait(
            deadline_seconds=self._parts.settings.worker.import_deadline_seconds,
            on_step=lambda step: self._report.enter(step.phase),
            stop=stop,
        )
