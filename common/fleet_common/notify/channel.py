"""One way to people: gathers notes, sends them as one message, and tries again for a day.

Threading: a channel owns the thread ``notify-<name>``, from :meth:`Channel.start` to :meth:`Channel.stop`; notes come
from any thread and never wait. What is not sent stays in memory, bounded; what was told is remembered by offset, so a
restart tells the rest again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from fleet_common.notify.metrics import NotifyMetrics
from fleet_common.notify.notes import Note

_LOG = structlog.get_logger()
MOST_WAITING: Final = 10_000
FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 600.0
_LOOK_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 20.0
"""Longer than one try to send takes."""


class SendError(Exception):
    """A message was not taken; the text says why, without secrets."""


class Send(Protocol):
    """Sends one message."""

    def __call__(self, notes: Sequence[Note], *, dropped: int) -> None:
        """Send it, or raise :class:`SendError`."""


class Channel:
    """Sends notes in order.

    Args:
        name: For metrics and logs: ``webhook`` or ``mail``.
        send: Sends one message.
        metrics: Where it is counted.
        gather_seconds: How long to wait for more after the first note.
        give_up_seconds: How long to try.
        most: Notes that wait at most; the oldest go.
        monotonic: Seconds.
    """

    def __init__(  # noqa: PLR0913  all but three have defaults
        self,
        name: str,
        send: Send,
        metrics: NotifyMetrics,
        *,
        gather_seconds: float,
        give_up_seconds: float,
        most: int = MOST_WAITING,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._send, self._metrics = name, send, metrics
        self._gather_seconds, self._give_up_seconds, self._most = gather_seconds, give_up_seconds, most
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Note, float]] = deque()
        self._dropped = 0
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{name}", daemon=True)
        metrics.know(name, self.oldest_seconds)

    @property
    def ended(self) -> str | None:
        """Whether the thread is gone; None while it runs."""
        return None if self._thread.is_alive() else f"the thread that sends by {self._name} has ended"

    @property
    def first_untold(self) -> int | None:
        """The offset of the oldest note that was not sent; None when all were."""
        with self._lock:
            return min((note.offset for note, _ in self._waiting), default=None)

    def oldest_seconds(self) -> float:
        """For how long the oldest note has waited; 0 without one."""
        with self._lock:
            return self._monotonic() - self._waiting[0][1] if self._waiting else 0.0

    def start(self) -> None:
        """Begin to send; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; what waits is told after the next start."""
        self._stopping.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def put(self, note: Note) -> None:
        """Have a note sent; where too many wait the oldest is dropped, and counted in the next message."""
        with self._lock:
            if len(self._waiting) >= self._most:
                self._waiting.popleft()
                self._dropped += 1
                self._metrics.count(self._name, "dropped")
            self._waiting.append((note, self._monotonic()))
        self._some.set()

    def round(self, pause_seconds: float) -> float:
        """Send everything that waits as one message; the pause before the next try, 0 after success.

        Args:
            pause_seconds: After the last failure; 0 if there was none.
        """
        with self._lock:
            notes, dropped = [note for note, _ in self._waiting], self._dropped
        try:
            self._send(notes, dropped=dropped)
        except SendError as error:
            self._metrics.count(self._name, "failed")
            _LOG.warning("not told", channel=self._name, notes=len(notes), why=str(error))
            self._give_up()
            return min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * pause_seconds))
        self._metrics.count(self._name, "sent", len(notes))
        self._forget(notes, dropped)
        return 0.0

    def _forget(self, notes: Sequence[Note], dropped: int) -> None:
        sent = set(map(id, notes))
        with self._lock:
            self._waiting = deque(one for one in self._waiting if id(one[0]) not in sent)
            self._dropped -= dropped

    def _give_up(self) -> None:
        """Let go what was tried for long enough."""
        with self._lock:
            while self._waiting and self._monotonic() - self._waiting[0][1] > self._give_up_seconds:
                self._waiting.popleft()
                self._dropped += 1
                self._metrics.count(self._name, "dropped")

    # --- on the channel's thread ---

    def _run(self) -> None:
        pause_seconds = 0.0
        while not self._stopping.is_set():
            if not self._some.wait(_LOOK_SECONDS):
                continue
            self._some.clear()
            self._stopping.wait(self._gather_seconds)
            while not self._stopping.is_set() and self.first_untold is not None:
                pause_seconds = self._guarded(pause_seconds)
                self._stopping.wait(pause_seconds)

    def _guarded(self, pause_seconds: float) -> float:
        try:
            return self.round(pause_seconds)
        except Exception:
            # The boundary of the channel's thread: without it nobody would ever be told anything again.
            _LOG.exception("not told because of a defect", channel=self._name)
            self._metrics.count(self._name, "failed")
            self._give_up()
            return LONGEST_PAUSE_SECONDS
