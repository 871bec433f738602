"""Follows the event log for ever, from a place in it, message by message.

Neighbours: the exporter and ``notify`` say what a message means to them; :class:`~fleet_common.broker.StreamReader`
survives losses of the connection. Threading: the watch owns the thread ``event-log``, from :meth:`LogWatch.start` to
:meth:`LogWatch.stop`; ``handle`` and ``tick`` are called on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from fleet_common.broker import BrokerFailure, StreamReader
from fleet_common.broker.streams import Start
from fleet_common.broker.subscription import Message

_LOG = structlog.get_logger()
_AGAIN_SECONDS: Final = 10.0
_FOLLOWING_ENDS_SECONDS: Final = 1.0
_QUIET_SECONDS: Final = 2.0
"""A log that has brought nothing for so long is read to its end, whatever its count says."""
_TICK_SECONDS: Final = 60.0
"""The thread is well as long as it looked so long ago; reading waits at most a quarter of a second."""
NOT_READ: Final = "the event log was not read yet"

Handle = Callable[[Message, bool], None]
"""Gets a message, and whether it was told while we were listening."""


def end_reading(thread: threading.Thread, reader: Callable[[], StreamReader | None], deadline_seconds: float) -> None:
    """Wait for a thread that follows a log and was told to end.

    Args:
        thread: The one that reads; may never have been started.
        reader: What it reads with now.
        deadline_seconds: How long to wait, one second more or less.
    """
    if not thread.is_alive():
        return
    thread.join(min(_FOLLOWING_ENDS_SECONDS, deadline_seconds))
    reading = reader()
    if thread.is_alive() and reading is not None:
        # It still waits for a broker that is away.
        reading.stop(deadline_seconds / 2)
        thread.join(deadline_seconds / 2)


class LogWatch:
    """Reads the log and goes on reading.

    Args:
        open_reader: Makes a reader of the log.
        start: Where to begin.
        handle: Takes one message; what it raises ends the reading, which begins anew at the same message.
        tick: Called at least four times a second while there is a connection.
        clock: Monotonic, in seconds.
        again_seconds: Waited after a failure.
    """

    def __init__(  # noqa: PLR0913  clock and pause are injected
        self,
        open_reader: Callable[[], StreamReader],
        start: Start,
        handle: Handle,
        *,
        tick: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        again_seconds: float = _AGAIN_SECONDS,
    ) -> None:
        self._open_reader, self._start, self._handle, self._tick = open_reader, start, handle, tick
        self._clock, self._again_seconds = clock, again_seconds
        self._reader: StreamReader | None = None
        self._end: int | None = None
        self._heard_at = self._looked_at = clock()
        self._problem = NOT_READ
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="event-log", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why it is not known how the log goes; None while it is read to its end."""
        return self._problem or None

    @property
    def stuck(self) -> str | None:
        """Whether the thread does not go round any more; None while it does."""
        silent_seconds = self._clock() - self._looked_at
        return None if silent_seconds < _TICK_SECONDS else f"the event log was not looked at for {silent_seconds:.0f} s"

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._thread.start()

    def stop(self, deadline_seconds: float = 10.0) -> None:
        """Read no more."""
        self._stopping.set()
        end_reading(self._thread, lambda: self._reader, deadline_seconds)

    # --- on the watch's thread ---

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._looked_at = self._clock()
            try:
                self._round()
            except BrokerFailure as error:
                self._note(str(error))
            except Exception as defect:
                # The boundary of the watch's thread: without it nothing of the log would ever be heard again.
                _LOG.exception("the event log could not be read because of a defect")
                self._note(f"internal-error: {type(defect).__name__}: {defect}")
            self._stopping.wait(self._again_seconds)

    def _round(self) -> None:
        reader = self._reader = self._open_reader()
        reader.start()
        try:
            self._end = reader.end()
            self._heard_at = self._clock()
            for message in reader.follow_messages(self._start, stop=lambda: self._look(reader)):
                self._take(message)
        finally:
            reader.stop()

    def _take(self, message: Message) -> None:
        offset = message.offset or 0
        live = not self._problem or (self._end is None or offset > self._end)
        self._handle(message, live)
        # Only now: what failed is read again.
        self._start = offset + 1
        self._heard_at = self._clock()
        if self._end is None or offset >= self._end:
            self._problem = ""

    def _look(self, reader: StreamReader) -> bool:
        self._looked_at = self._clock()
        if not reader.link.connected:
            self._note(f"no connection: {reader.link.state.reason}")
        elif self._clock() - self._heard_at > _QUIET_SECONDS:
            self._problem = ""
        self._tick()
        return self._stopping.is_set()

    def _note(self, problem: str) -> None:
        """Keep what is wrong, and say so once."""
        if problem != self._problem:
            _LOG.warning("the event log cannot be read", problem=problem)
        self._problem = problem
