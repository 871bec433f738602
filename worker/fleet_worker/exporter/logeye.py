"""What the event log says: open requests, the newest batch of each lane, and producers that are silent.

Threading: all on the thread of the :class:`~fleet_common.logwatch.LogWatch` that calls :meth:`LogEye.hear` and
:meth:`LogEye.tick`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

import structlog

from fleet_common.broker.eventlog import event_from
from fleet_common.broker.subscription import Message
from fleet_common.errors import Permanent
from fleet_common.heartbeats import decode_heartbeat, is_heartbeat
from fleet_common.ledger import Ledger
from fleet_common.logclock import LogClock
from fleet_common.producers import Producers
from fleet_worker.exporter.board import Board
from fleet_worker.exporter.views import of_ledger, of_producers

_LOG = structlog.get_logger()
SOURCE: Final = "event-log"
SHOW_SECONDS: Final = 5.0
"""How often the board is told anew, so that ages grow while nothing happens."""


class LogEye:
    """Folds the log.

    Args:
        board: Where to put what it says.
        lanes: The lanes that are shown, asked anew each time.
        problem: Why the log cannot be read now; None when it can, and was read to its end.
        clock: The time.
        monotonic: Seconds.
    """

    def __init__(
        self,
        board: Board,
        lanes: Callable[[], Collection[str]],
        problem: Callable[[], str | None],
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._board, self._lanes, self._problem = board, lanes, problem
        self._clock, self._monotonic = clock, monotonic
        self._ledger, self._producers, self._times = Ledger(), Producers(), LogClock()
        self._skipped = 0
        self._shown_at = float("-inf")
        board.expect(SOURCE)

    def hear(self, message: Message, live: bool) -> None:  # noqa: FBT001  the signature is that of LogWatch
        """Take in one message; what is neither event nor heartbeat is counted."""
        try:
            self._take(message, live=live)
        except Permanent as error:
            self._skipped += 1
            _LOG.debug("skipped a message of the event log", offset=message.offset, error=str(error))

    def _take(self, message: Message, *, live: bool) -> None:
        now = self._clock()
        if is_heartbeat(message.routing_key):
            heartbeat = decode_heartbeat(message.body, message.routing_key)
            self._producers.add(heartbeat, self._times.of_producer(heartbeat.at, now, live=live))
            return
        event = event_from(message)
        seconds = self._times.seconds(event, now, live=live)
        if event.seq:
            # By a worker's clock: what stands before it in the log is older, whatever a producer's clock said.
            self._producers.not_after(seconds)
        self._ledger.add(event, seconds, message.offset or 0)

    def tick(self) -> None:
        """Tell the board, now and then; nothing before the log was read to its end."""
        if self._monotonic() - self._shown_at < SHOW_SECONDS:
            return
        self._shown_at = self._monotonic()
        if self._problem() is not None:
            self._board.drop(SOURCE)
            return
        lanes, now = self._lanes(), self._clock().timestamp()
        self._board.put(
            SOURCE,
            {
                **of_ledger(self._ledger, lanes, now, skipped=self._skipped),
                **of_producers(self._producers, lanes, now),
            },
        )
