"""Wait for an import inside the server, by its notifications and by asking.

Notifications are one-way and may be lost, so the handle is asked every 15 s, too. Threading: one thread waits; Ice's
own threads only put what they are told into a queue. An import that is not waited for to its end goes on in the server.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import Ice
import omero
import omero.callbacks
import omero.cmd

from fleet_common.errors import Reason, RequestError, Transient, failure
from fleet_common.events import Phase
from fleet_worker.omero import marks, serverlog
from fleet_worker.omero.commands import close_handle, error_in
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.facts import ImportOutcome, ServerStep
from fleet_worker.omero.translate import server_error, translated

POLL_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 1.0
"""Between two looks at ``stop``."""
_SILENT_POLLS: Final = 2
"""An answer may come a moment after the end; one that two polls do not find never comes."""

_NOW_DOING: Final = {0: Phase.SET_ID, 1: Phase.PIXELDATA}
"""After so many steps; from the second step on it is settings and thumbnails, then work without a name of its own."""

_Told = tuple[str, int, float]


class _Listener(omero.callbacks.CmdCallbackI):  # type: ignore[misc]  # omero-py has no types
    """Takes the server's notifications; called by threads of Ice."""

    def __init__(self, client: Any, handle: Any, told: queue.SimpleQueue[_Told]) -> None:
        self._told = told
        super().__init__(client, handle)

    def step(self, complete: int, _total: int, _current: Any = None) -> None:
        """A step is done."""
        self._told.put(("step", complete, time.monotonic()))

    def onFinished(self, _response: Any, _status: Any, _current: Any) -> None:  # noqa: N802  omero-py's name
        """The import has ended, either way."""
        self._told.put(("finished", 0, time.monotonic()))


class RunningCount:
    """How many imports of one session may be at work in the server. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def begin(self) -> None:
        """The server may have one more from now on."""
        with self._lock:
            self._count += 1

    def end(self) -> None:
        """One has ended, or was refused."""
        with self._lock:
            self._count -= 1

    def any(self) -> bool:
        """Whether there is one."""
        with self._lock:
            return self._count > 0


class RunningImport:
    """An import that the server has accepted.

    Attributes:
        fileset_id: Of the fileset.
    """

    def __init__(
        self, connection: Connection, handle: Any, fileset_id: int, source: str, running: RunningCount
    ) -> None:
        self.fileset_id = fileset_id
        self._connection = connection
        self._handle = handle
        self._source = source
        self._running = running
        self._began = time.monotonic()
        self._told: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._steps: dict[int, float] = {}
        self._answer: Any = None
        self._silent_polls = 0
        with translated(f"the start of the import of {source}"):
            self._listener = _Listener(connection.client, handle, self._told)

    def wait(
        self, *, deadline_seconds: float, on_step: Callable[[ServerStep], None], stop: Callable[[], None]
    ) -> ImportOutcome:
        """Wait until the server is done.

        Args:
            deadline_seconds: From now; the import goes on in the server when it has passed.
            on_step: Told every step, in order, by the waiting thread.
            stop: Called every second; raises to stop waiting.

        Raises:
            Transient: ``omero-busy`` after the deadline, or what the connection says: the import may still go on.
            RequestError: The import failed, with the end of the server's log; ``import-interrupted`` without it where
                the server ended the import and never answers.
        """
        give_up_at = time.monotonic() + deadline_seconds
        poll_at = time.monotonic() + POLL_SECONDS
        while self._answer is None:
            stop()
            now = time.monotonic()
            if now > give_up_at:
                raise failure(Reason.OMERO_BUSY, f"{self._what} is not done after {deadline_seconds:.0f} s; it goes on")
            if now > poll_at:
                poll_at = now + POLL_SECONDS
                self._poll(on_step)
            self._hear(on_step)
        return self._settled()

    @property
    def finished(self) -> bool:
        """Whether the server does nothing more for this import: it has answered, or never will."""
        return self._answer is not None or self._silent_polls >= _SILENT_POLLS

    def cancel(self) -> bool:
        """Ask the server to end the import; what it has made so far stays, for the caller to delete.

        For the thread that waits. The server answers at once, or when the step that it is at is done, or gives up after
        five seconds. Then call `wait`, which raises ``import-interrupted`` as soon as nothing runs any more.

        Returns:
            Whether the import ends. False: it is done already, or cannot be stopped now: ask again or wait.

        Raises:
            Transient: The connection is lost: the import may go on.
        """
        if self._answer is not None:
            return False
        try:
            with translated(f"the cancellation of {self._what}"):
                ended = bool(self._handle.cancel())
        except Transient as error:
            if isinstance(error.__cause__, omero.LockTimeout):
                return False
            raise
        self._fetch()
        return ended

    def log_tail(self) -> str:
        """The redacted end of the server's log of this import; empty where the server keeps none or does not answer."""
        return serverlog.log_tail(self._connection, self.fileset_id)

    def close(self) -> None:
        """Stop listening; an import that is not done goes on. Never raises; may be called again."""
        with contextlib.suppress(Ice.Exception):
            self._listener.close(False)  # noqa: FBT003  True would cancel a running import

    @property
    def _what(self) -> str:
        return f"the import of {self._source}"

    def _hear(self, on_step: Callable[[ServerStep], None]) -> None:
        with contextlib.suppress(queue.Empty):
            kind, done, at = self._told.get(timeout=_LOOK_SECONDS)
            if kind == "step":
                self._report(done, at, on_step)
            else:
                self._fetch()

    def _report(self, done: int, at: float, on_step: Callable[[ServerStep], None]) -> None:
        if done in self._steps:
            return
        self._steps[done] = at - self._began
        on_step(ServerStep(done, _NOW_DOING.get(done, Phase.THUMBNAILS), self._steps[done]))

    def _poll(self, on_step: Callable[[ServerStep], None]) -> None:
        self._fetch()
        if self._answer is None:
            with translated(self._what):
                status = self._handle.getStatus()
            if status is not None and status.stopTime > 0:
                self._note_silence(status)
            elif status is not None and status.currentStep > 0:
                self._report(int(status.currentStep), time.monotonic(), on_step)

    def _note_silence(self, status: Any) -> None:
        """Give up on a server that has ended the import without an answer, as it does when it fails while it fails."""
        self._silent_polls += 1
        if self.finished:
            self._running.end()
            close_handle(self._handle)
            flags = ", ".join(str(flag) for flag in status.flags)
            raise failure(Reason.IMPORT_INTERRUPTED, f"{self._what} ended in the server ({flags}) without an answer")

    def _fetch(self) -> None:
        """Ask for the answer; the notification may have carried it, unless it was over 64 MB."""
        self._answer = self._listener.getResponse()
        if self._answer is None:
            with translated(self._what):
                self._answer = self._handle.getResponse()
        if self._answer is not None:
            self._running.end()

    def _settled(self) -> ImportOutcome:
        ended = time.monotonic() - self._began
        try:
            if isinstance(self._answer, omero.cmd.ERR):
                raise self._error()
            return self._outcome(ended)
        finally:
            self.close()
            close_handle(self._handle)

    def _error(self) -> RequestError:
        return server_error(self._what, error_in(self._answer), self.log_tail())

    def _outcome(self, ended_seconds: float) -> ImportOutcome:
        objects = self._answer.objects
        return ImportOutcome(
            fileset_id=self.fileset_id,
            pixels=len(self._answer.pixels),
            plate_ids=tuple(sorted(one.id.val for one in objects if isinstance(one, omero.model.PlateI))),
            image_ids=tuple(sorted(one.id.val for one in objects if isinstance(one, omero.model.ImageI))),
            seconds=marks.phase_seconds(self._marks(), self._steps, ended_seconds),
        )

    def _marks(self) -> marks.Marks:
        try:
            return marks.read_marks(self._connection, self.fileset_id)
        except RequestError:
            # Times are nice to have: the import is done whether or not they can be read.
            return marks.Marks(None, None, None, None)
