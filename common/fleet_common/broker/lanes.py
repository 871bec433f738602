"""Taking requests from lanes: one at a time, urgent first, lanes in turn, nobody for ever behind others.

Role: looks at the queues with passive declares, which cost a tenth of a millisecond each and write nothing, and gets
from the first that has something. Workers pull: there is no prefetch, so a request waits in its queue, where everyone
can see it, until somebody has room. Neighbours: ``fairness`` says in which order to look, ``link`` is the consuming one
and never publishes, ``deliveries`` is what comes out, ``doorbell`` ends idle waits. Threading: one thread takes, and
asks which lanes are open; :meth:`LaneSource.wake` and :meth:`LaneSource.ring` may be called from any.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import pika
import structlog

from fleet_common.broker.channels import Channel
from fleet_common.broker.costs import cost_of
from fleet_common.broker.deliveries import Delivery, Origin, delivery_from
from fleet_common.broker.doorbell import Doorbell, nobody_waits
from fleet_common.broker.failures import BrokerFailure, BrokerRefused
from fleet_common.broker.fairness import Turns, always
from fleet_common.broker.link import Link
from fleet_common.broker.names import Names
from fleet_common.broker.promises import Promise, T, fail, keep, meaning
from fleet_common.broker.session import Connection, Operation
from fleet_common.broker.waiting import Clock, Deadline
from fleet_common.messages import Priority

_LOG = structlog.get_logger()
_ANSWER_SECONDS: Final = 10.0
_NOT_THERE: Final = 404


class LaneSource:
    """Where a worker takes requests from.

    Args:
        link: The consuming link.
        names: Of the queues.
        lanes: Lanes to take from, at least one.
        is_open: Whether a lane may be taken from just now, asked anew before every look; must return at once.
        on_freed: Called on the link's thread with the name of a slot that somebody gave back; must return at once.
        poll_seconds: How often an idle worker looks without hearing the doorbell.
        clock: For deadlines.
    """

    def __init__(  # noqa: PLR0913  keyword arguments with names of their own
        self,
        link: Link,
        names: Names,
        lanes: Sequence[str],
        *,
        is_open: Callable[[str], bool] = always,
        on_freed: Callable[[str], None] = nobody_waits,
        poll_seconds: float = 2.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._link = link
        self._names = names
        self._turns = Turns(lanes)
        self._is_open = is_open
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._bell = Doorbell(link, names, on_freed)
        self._woken = threading.Event()
        self._complaints: dict[str, int] = {}
        self._scout: Channel = None
        self._asking: Promise[Any] | None = None

    def take(self, deadline_seconds: float) -> Delivery | None:
        """The next request, or None when there was none by the deadline or :meth:`wake` was called.

        A broker that is away is waited for; the deadline holds all the same.
        """
        deadline = Deadline(deadline_seconds, self._clock)
        while not self._woken.is_set():
            self._bell.clear()
            delivery = self._one_round()
            if delivery is not None or deadline.over:
                return delivery
            self._bell.wait(min(self._poll_seconds, deadline.left_seconds))
        self._woken.clear()
        return None

    def wake(self) -> None:
        """Make the running or the next :meth:`take` return at once, for a worker that stops."""
        self._woken.set()
        self._bell.ring()

    def ring(self) -> None:
        """Make an idle :meth:`take` look again at once without ending it, for a lane that was opened again."""
        self._bell.ring()

    def _one_round(self) -> Delivery | None:
        if not self._link.connected:
            return None
        try:
            return self._next()
        except BrokerFailure as error:
            _LOG.info("looking for requests was interrupted", reason=str(error))
        return None

    def _next(self) -> Delivery | None:
        for lane, priority in self._turns.order(self._is_open):
            delivery = self._take_from(lane, priority)
            if delivery is not None:
                self._turns.charge(lane, priority, cost_of(delivery.body))
                return delivery
        self._turns.rest()
        return None

    def _take_from(self, lane: str, priority: Priority) -> Delivery | None:
        queue = self._names.lane_queue(lane, priority)
        try:
            waiting = self._link.call(partial(self._look, queue), _ANSWER_SECONDS)
            self._well(queue, _NOT_THERE)
            return self._get_from(queue, Origin(self._link, lane, priority)) if waiting else None
        except BrokerRefused as error:
            self._complain(queue, error)
            return None

    def _get_from(self, queue: str, origin: Origin) -> Delivery | None:
        get: Operation[Delivery | None] = partial(self._get, queue, origin)
        delivery = self._link.call(get, _ANSWER_SECONDS)
        self._well(queue)
        return delivery

    def _well(self, queue: str, *codes: int) -> None:
        """End a complaint. A look proves only that the queue is there: it may be allowed where a get is refused."""
        if not codes or self._complaints.get(queue) in codes:
            self._complaints.pop(queue, None)

    def _complain(self, queue: str, error: BrokerRefused) -> None:
        """Once for as long as it lasts; a queue that was deleted may be made again at any time."""
        if queue not in self._complaints:
            self._complaints[queue] = error.code
            _LOG.warning("cannot take from a lane: check `omero-fleet topology verify`", queue=queue, error=str(error))

    # --- on the link's thread ---

    def _look(self, queue: str, connection: Connection, promise: Promise[int]) -> None:
        def counted(frame: Any) -> None:
            keep(promise, int(frame.method.message_count))

        self._with_scout(connection, promise, lambda scout: scout.queue_declare(queue, passive=True, callback=counted))

    def _get(self, queue: str, origin: Origin, connection: Connection, promise: Promise[Delivery | None]) -> None:
        def ask(scout: Channel) -> None:
            scout.add_callback(lambda _: keep(promise, None), [pika.spec.Basic.GetEmpty], one_shot=True)
            scout.basic_get(queue, lambda *got: self._got(promise, delivery_from(origin, *got)))

        self._with_scout(connection, promise, ask)

    def _got(self, promise: Promise[Delivery | None], delivery: Delivery) -> None:
        # From now on the channel belongs to the delivery; the next look opens another one.
        self._scout = None
        if not keep(promise, delivery):
            delivery.handle.give_up()

    def _with_scout(self, connection: Connection, promise: Promise[T], then: Callable[[Channel], Any]) -> None:
        self._asking = promise
        if self._scout is not None and self._scout.is_open:
            then(self._scout)
            return

        def opened(channel: Channel) -> None:
            self._scout = channel
            then(channel)

        connection.channel(on_open_callback=opened).add_on_close_callback(self._scout_closed)

    def _scout_closed(self, channel: Channel, reason: BaseException) -> None:
        if self._scout is channel:
            self._scout = None
            if self._asking is not None:
                fail(self._asking, meaning(reason))
