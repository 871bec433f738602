"""Rests while and after a plate is looked at, and what is done in between. Threading: one thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from fleet_common.watching import WatchSettings
from fleet_common.wholeness import nothing
from fleet_producer.watch.pacing import breath_seconds

_WORTH_A_PAUSE_SECONDS: Final = 0.1
_MEANWHILE_SECONDS: Final = 1.0


class Stopped(Exception):
    """The watch is to end; the plate that was looked at is looked at again by the next one."""


class Breath:
    """Rests after work, so that work is no more than its share of the time.

    One rest is no longer than ``slowest_seconds``; what is owed beyond that is rested for the next times.

    Args:
        settings: The share.
        wait: Waits so many seconds, or less when the watch is to stop.
        count: Called with seconds of work.
        monotonic: A clock in seconds that nobody can set.
    """

    def __init__(
        self,
        settings: WatchSettings,
        wait: Callable[[float], object],
        count: Callable[[float], object],
        monotonic: Callable[[], float],
    ) -> None:
        self._settings, self._wait, self._count, self._monotonic = settings, wait, count, monotonic
        self._owed_seconds = 0.0
        self._since: float | None = None

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """What is done meanwhile is work, for which it rests at the end at the latest."""
        self._since = self._monotonic()
        try:
            yield
        finally:
            self()
            self._since = None

    def __call__(self) -> None:
        """Rest for the work since the last rest, if there was any; what is short is put together."""
        if self._since is None:
            return
        worked_seconds = max(0.0, self._monotonic() - self._since)
        self._count(worked_seconds)
        self._owed_seconds += breath_seconds(worked_seconds, self._settings)
        if self._owed_seconds >= _WORTH_A_PAUSE_SECONDS:
            rest_seconds = min(self._owed_seconds, self._settings.slowest_seconds)
            self._wait(rest_seconds)
            self._owed_seconds -= rest_seconds
        self.leave_out()

    def leave_out(self) -> None:
        """What was done since the last rest was no work on a share."""
        if self._since is not None:
            self._since = self._monotonic()


class Pulse:
    """Beats while plates are looked at: a first round over thousands of plates, or one of 900,000 files, takes hours.

    Args:
        monotonic: A clock in seconds that nobody can set.
        stopping: Ends the round when it is set.
        breath: Rests at each beat.

    Attributes:
        at: When it last beat.
        meanwhile: What is done in between, at most once a second.
    """

    def __init__(self, monotonic: Callable[[], float], stopping: threading.Event, breath: Breath) -> None:
        self._monotonic, self._stopping, self._breath = monotonic, stopping, breath
        self._meanwhile_at = self.at = monotonic()
        self.meanwhile: Callable[[], None] = nothing

    def __call__(self) -> None:
        """Beat.

        Raises:
            Stopped: The watch is to end.
        """
        self._breath()
        if self._stopping.is_set():
            raise Stopped
        self.at = self._monotonic()
        if self.at - self._meanwhile_at >= _MEANWHILE_SECONDS:
            self._meanwhile_at = self.at
            self.meanwhile()
            self._breath.leave_out()
