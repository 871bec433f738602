"""Decides what is told: folds the log, makes notes of what is new, and knows where to begin after a restart.

Threading: all on the thread of the log watch.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from fleet_common.broker.eventlog import event_from
from fleet_common.broker.subscription import Message
from fleet_common.errors import Permanent
from fleet_common.heartbeats import is_heartbeat
from fleet_common.ledger import Ledger, Tally
from fleet_common.logclock import LogClock
from fleet_common.notify.notes import Note, of_batch, of_event
from fleet_common.notify.place import MOST_ANNOUNCED, Place

_LOG = structlog.get_logger()


class Teller:
    """Turns messages of the log into notes.

    Args:
        place: Where an earlier process was; None for one that begins with what comes now.
        put: Has a note sent.
        clock: The time.
        quiet_seconds: How long a batch must be finished before it is said.
    """

    def __init__(
        self, place: Place | None, put: Callable[[Note], None], *, clock: Callable[[], datetime], quiet_seconds: float
    ) -> None:
        self._put, self._clock, self._quiet_seconds = put, clock, quiet_seconds
        self._told_to = place.told_to if place else -1
        self._announced = {key: (counts, -1) for key, counts in place.announced.items()} if place else {}
        self._read_to = self._told_to
        self._ledger, self._times = Ledger(), LogClock()

    def hear(self, message: Message, live: bool) -> None:  # noqa: FBT001  the signature is that of LogWatch
        """Take in one message; what was told before is only folded."""
        offset = message.offset or 0
        try:
            self._take(message, offset, live=live)
        except Permanent as error:
            _LOG.debug("skipped a message of the event log", offset=offset, error=str(error))
        self._read_to = max(self._read_to, offset)

    def _take(self, message: Message, offset: int, *, live: bool) -> None:
        if is_heartbeat(message.routing_key):
            return
        event = event_from(message)
        self._ledger.add(event, self._times.seconds(event, self._clock(), live=live), offset)
        note = of_event(event, offset)
        if note is not None and offset > self._told_to:
            self._put(note)

    def announce(self) -> None:
        """Tell of batches that are finished; call it again and again once the log was read to its end."""
        now = self._clock()
        for tally in self._ledger.batches():
            if self._is_news(tally, now.timestamp()):
                self._remember(tally)
                self._put(of_batch(tally, self._read_to, now))

    def place(self, first_untold: int | None) -> Place:
        """Where a later process goes on.

        Args:
            first_untold: The offset of the oldest note that was not sent; None when all were.
        """
        told_to = self._read_to if first_untold is None else min(self._read_to, first_untold - 1)
        announced = {key: counts for key, (counts, offset) in self._announced.items() if offset <= told_to}
        still_to_say = [
            tally.offset for tally in self._ledger.batches() if announced.get(_key(tally)) != _counts(tally)
        ]
        return Place(read_from=max(0, min([*still_to_say, told_to + 1])), told_to=told_to, announced=announced)

    def _is_news(self, tally: Tally, now_seconds: float) -> bool:
        finished = tally.requests > 0 and not tally.open and now_seconds - tally.changed_seconds >= self._quiet_seconds
        said, _ = self._announced.get(_key(tally), ("", 0))
        return finished and said != _counts(tally)

    def _remember(self, tally: Tally) -> None:
        self._announced.pop(_key(tally), None)
        self._announced[_key(tally)] = (_counts(tally), self._read_to)
        while len(self._announced) > MOST_ANNOUNCED:
            self._announced.pop(next(iter(self._announced)))


def _key(tally: Tally) -> str:
    return f"{tally.lane}/{tally.batch_id}"


def _counts(tally: Tally) -> str:
    return " ".join(f"{state}={count}" for state, count in tally.counts.items() if count)
