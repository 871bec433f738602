"""Removes requests from the spool when their outcome is told, so that it stays small for years.

Role: what ``submit --wait`` does for one command, for as long as a watch runs. What is told while the connection is
lost is missed: such requests stay in the spool, as ``sent``, until ``omero-fleet spool settle`` asks the event log,
which a producer may not read. Neighbours: ``broker.follower`` brings events, ``spool`` forgets. Threading:
:class:`Settling` owns the thread ``outcomes``, which follows; the spool may be used by any number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from fleet_common.broker import BrokerFailure
from fleet_common.events import FINAL, Event
from fleet_producer.spool import Spool, SpoolError

_AGAIN_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_FOREVER: Final = float("inf")
_LOG = structlog.get_logger()


class Following(Protocol):
    """What is used of :class:`fleet_common.broker.LiveFollower`."""

    def __enter__(self) -> Self:
        """Attach."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Detach."""

    def events(self, *, stop: Callable[[], bool], deadline_seconds: float) -> Iterator[Event]:
        """Events as they are told."""


class Settling:
    """Follows outcomes while it is entered; a context manager.

    Args:
        spool: What is waited for.
        follow: Makes a follower of this host's lane.
        hear: Called with every event of the lane, on the thread of this class.
    """

    def __init__(self, spool: Spool, follow: Callable[[], Following], hear: Callable[[Event], None]) -> None:
        self._spool, self._follow, self._hear = spool, follow, hear
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="outcomes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)

    def run(self) -> None:
        """Follow until stopped, again and again: the broker may be away, or this user may not follow."""
        while not self._stopping.is_set():
            try:
                with self._follow() as follower:
                    for event in follower.events(stop=self._stopping.is_set, deadline_seconds=_FOREVER):
                        self.heard(event)
            except (BrokerFailure, SpoolError) as error:
                _LOG.warning("outcomes cannot be followed, and stay in the spool until then", error=str(error))
                self._stopping.wait(_AGAIN_SECONDS)

    def heard(self, event: Event) -> None:
        """Tell whoever listens, and forget what has come to its end.

        What is pending stays: it was made after what this outcome is of.

        Raises:
            SpoolError: The disk failed.
        """
        self._hear(event)
        if event.kind not in FINAL:
            return
        for entry in self._spool.sent(event.request_id):
            if entry.request.lane == event.lane:
                self._spool.remove(entry)
