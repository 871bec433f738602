"""Takes requests for as long as there is room and all is well, and gives each to a thread.

Threads: the taker's own is the only one that takes; ``places`` threads handle one delivery each. Both belong to the
:class:`Taker`. A request that is suspected of killing workers gets a worker for itself: while it is in work nothing
else is taken, and a worker that met one while others were in work takes one request after the other for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Thread
from typing import Final, Protocol

import structlog

from fleet_common.broker import Delivery, alone_of
from fleet_worker.crashes import Course, Judgement, judge
from fleet_worker.room import Room

_LOG = structlog.get_logger()
TAKE_SECONDS: Final = 5.0
TICK_LIMIT_SECONDS: Final = 60.0
RECONNECTED_SECONDS: Final = 60.0
"""For so long after its own reconnect a worker believes that deliveries came back from workers that live."""
SERIAL_SECONDS: Final = 30.0
"""For so long a worker takes one request after the other once it met a suspect: longer than the suspect waits."""


class Source(Protocol):
    """Where requests come from."""

    def take(self, deadline_seconds: float) -> Delivery | None:
        """The next one; None when there is none in time."""

    def wake(self) -> None:
        """Let a running take end."""


Handle = Callable[[Delivery, Judgement], None]


class Taker:
    """The taker of one worker.

    Args:
        source: Where requests come from.
        handle: Handles one, on a thread of the taker's; never raises.
        ready: Waits up to so many seconds until nothing is in the way; whether that is so.
        places: Requests in work at once.
        fleet_users: Broker users whose counts are believed.
        monotonic: Seconds.
    """

    def __init__(  # noqa: PLR0913  all but the clock are needed
        self,
        source: Source,
        handle: Handle,
        ready: Callable[[float], bool],
        *,
        places: int,
        fleet_users: Collection[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._handle, self._ready = source, handle, ready
        self._fleet_users = fleet_users
        self._monotonic = monotonic
        self._room = Room(places)
        self._handlers = ThreadPoolExecutor(places, thread_name_prefix="request")
        self._thread = Thread(target=self._take_for_ever, name="taker")
        self._stopping = Event()
        self._ticked_at = monotonic()
        self._reconnected_at = float("-inf")
        self._serial_until = float("-inf")
        self._guest_alone = False
        self._begun: set[Future[None]] = set()

    def start(self) -> None:
        """Begin to take."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more; what is in work goes on."""
        self._stopping.set()
        self._source.wake()
        self._thread.join()

    def wait_done(self, deadline_seconds: float) -> bool:
        """Wait until nothing is in work; False when something still is by the deadline."""
        return self._room.wait_empty(deadline_seconds)

    def close(self) -> None:
        """Wait for whatever is in work, and end the threads."""
        self._handlers.shutdown(wait=True)

    def reconnected(self) -> None:
        """The consuming connection was lost and is there again."""
        self._reconnected_at = self._monotonic()

    @property
    def in_work(self) -> int:
        """How many requests are with this worker."""
        return len(self._begun)

    @property
    def problem(self) -> str | None:
        """Why the taker seems to hang; None while it ticks."""
        silent_seconds = self._monotonic() - self._ticked_at
        if self._stopping.is_set() or silent_seconds < TICK_LIMIT_SECONDS:
            return None
        return f"nothing was taken or looked for during {silent_seconds:.0f} s"

    def _take_for_ever(self) -> None:
        while not self._stopping.is_set():
            self._ticked_at = self._monotonic()
            if self._room.take(TAKE_SECONDS, alone=self._guest_alone or self._monotonic() < self._serial_until):
                self._guest_alone = False
                self._take_one()

    def _take_one(self) -> None:
        """Take a request if all is well, and hand it to a thread that gives the place back."""
        delivery = None
        try:
            if self._ready(TAKE_SECONDS) and not self._stopping.is_set():
                delivery = self._source.take(TAKE_SECONDS)
        finally:
            if delivery is None:
                self._room.give_back()
        if delivery is not None:
            self._begin(delivery)

    def _begin(self, delivery: Delivery) -> None:
        judgement = self._judge(delivery)
        self._guest_alone = judgement.course is Course.RUN_ALONE
        if judgement.course is Course.LATER:
            self._serial_until = self._monotonic() + SERIAL_SECONDS
        if judgement.course is not Course.RUN:
            _LOG.warning("a request that workers died of", course=judgement.course, deaths=judgement.deaths)
        done = self._handlers.submit(self._handle, delivery, judgement)
        self._begun.add(done)
        done.add_done_callback(self._begun.discard)
        done.add_done_callback(lambda _: self._room.give_back())

    def _judge(self, delivery: Delivery) -> Judgement:
        return judge(
            alone=alone_of(delivery, self._fleet_users),
            deliveries=delivery.deliveries,
            idle=self._room.used == 1,
            reconnected=self._monotonic() - self._reconnected_at < RECONNECTED_SECONDS,
        )
