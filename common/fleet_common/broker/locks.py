"""Locks of requests and slots of servers, as exclusive queues that die with their holder's connection.

Role: take, keep, retake and release leases. A name is taken once per process, because RabbitMQ lets the same connection
declare its exclusive queue again. After a loss of the connection the holder takes its own leases again before anything
else can use the new connection; nobody takes a *new* slot for a while after its own reconnect, so that after a restart
of the broker the holders come first. Neighbours: ``leases`` holds the state, ``link`` is the consuming one. Threading:
public methods may be called from any thread but the link's; underscored ones below the mark run on the link's thread.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pika.exceptions
import structlog

from fleet_common.broker.channels import Channel, close
from fleet_common.broker.failures import BrokerFailure, BrokerRefused, BrokerUnavailable
from fleet_common.broker.inspect import queue_depth
from fleet_common.broker.leases import Lease, Patience
from fleet_common.broker.line import Line
from fleet_common.broker.link import Link
from fleet_common.broker.names import Names
from fleet_common.broker.promises import Promise, fail, keep, meaning
from fleet_common.broker.session import Connection
from fleet_common.broker.waiting import Clock, Deadline
from fleet_common.errors import NeedsOperator, Reason, Transient

_LOG = structlog.get_logger()
_HELD_BY_ANOTHER: Final = 405


@dataclass(frozen=True, slots=True)
class Timing:
    """The waits of locks and slots; defaults as measured (docs/reference/broker.md).

    Attributes:
        ask_every_seconds: How often the broker is asked for every held lease.
        silence_seconds: Without an answer for so long a lease is lost.
        slot_outage_seconds: How long a slot may be hoped for without a connection; longer than a restart of the broker.
        new_slot_grace_seconds: After its own reconnect nobody takes a new slot for so long.
        try_seconds: For one answer of the broker.
        retry_seconds: Between two rounds over busy slots, give or take half: a word comes of most that are given back.
        look_seconds: How often a wait asks whether it must stop.
        trust_seconds: For so long a queue that turned out to be a slot is taken for one.
    """

    ask_every_seconds: float = 1.0
    silence_seconds: float = 8.0
    slot_outage_seconds: float = 60.0
    new_slot_grace_seconds: float = 30.0
    try_seconds: float = 10.0
    retry_seconds: float = 1.5
    look_seconds: float = 0.25
    trust_seconds: float = 60.0


class Locks:
    """All leases of one process, over the link that consumes; make one per link.

    Args:
        link: Must never publish: a publishing connection hangs while the broker has an alarm.
        names: Tell slots from locks.
        timing: Waits.
        clock: For deadlines and proofs.
    """

    def __init__(
        self,
        link: Link,
        *,
        names: Names | None = None,
        timing: Timing | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._link = link
        self._names = names or Names()
        self._timing = timing or Timing()
        self._clock = clock
        self._line = Line()
        self._guard = threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._trusted_until: dict[str, float] = {}
        self._no_new_slot_before = clock()
        self._opened_before = False
        link.on_open(self._new_generation)

    def try_take(self, name: str) -> Lease | None:
        """Take a lock; None when somebody else, or this process, holds it.

        Raises:
            NeedsOperator: A queue of that name is no lock.
            BrokerFailure: The broker is not there or did not answer.
        """
        return self._take(name, Patience(self._timing.silence_seconds, self._timing.silence_seconds))

    def take_one_of(self, names: Sequence[str], deadline_seconds: float, *, stop: Callable[[], bool]) -> Lease:
        """Take any one of several slots or locks, and wait until one is free.

        Args:
            names: The slots, tried in random order.
            deadline_seconds: How long to wait at most; times without a connection count.
            stop: Asked between two rounds, at least about twice a second; True ends the wait.

        Raises:
            Transient: None was free by the deadline, or ``stop`` said so.
            NeedsOperator: A queue of that name is no slot.
        """
        deadline, again_at, pause_seconds = Deadline(deadline_seconds, self._clock), self._clock(), 0.0
        with self._line.stand(names) as waiter:
            while True:
                wanted = waiter.wait(min(pause_seconds, deadline.left_seconds), look=self._clock() >= again_at)
                lease = self._one_round(wanted)
                if lease is not None:
                    return lease
                if stop():
                    raise Transient(Reason.DRAINING, f"stopped waiting for one of {_told(names)}")
                if deadline.over:
                    raise Transient(Reason.OMERO_BUSY, f"none of {_told(names)} was free for {deadline_seconds:g} s")
                if wanted:
                    again_at = self._clock() + self._timing.retry_seconds * random.uniform(0.5, 1.5)  # noqa: S311
                pause_seconds = self._timing.look_seconds

    def freed(self, name: str) -> None:
        """Note that somebody gave a slot or lock back: who waits longest for it tries at once. From any thread."""
        self._line.freed(name)

    def try_one_of(self, names: Sequence[str]) -> Lease | None:
        """Take any one of several slots or locks if one is free now; None when all are taken.

        Args:
            names: Tried in random order.

        Raises:
            NeedsOperator: A queue of that name is no slot.
            BrokerFailure: The broker is not there or did not answer, or this process was reconnected a moment ago, so
                that no new slot is for it yet. Nothing is known of the slots then.
        """
        if self._clock() < self._no_new_slot_before and any(map(self._names.is_slot, names)):
            raise BrokerUnavailable("the connection was made anew a moment ago: those who held slots come first")
        patience = Patience(self._timing.silence_seconds, self._timing.slot_outage_seconds)
        leases = (self._take(name, patience) for name in random.sample(names, len(names)))
        return next((lease for lease in leases if lease is not None), None)

    def held(self) -> tuple[str, ...]:
        """The names this process holds or has not yet released."""
        with self._guard:
            return tuple(self._leases)

    def _one_round(self, names: Sequence[str]) -> Lease | None:
        if self._clock() < self._no_new_slot_before and any(map(self._names.is_slot, names)):
            return None
        patience = Patience(self._timing.silence_seconds, self._timing.slot_outage_seconds)
        for name in random.sample(names, len(names)):
            # A lost connection comes back; the caller's own deadline ends the wait.
            with contextlib.suppress(BrokerFailure):
                lease = self._take(name, patience)
                if lease is not None:
                    return lease
        return None

    def _take(self, name: str, patience: Patience) -> Lease | None:
        lease = Lease(name, patience, self._release, self._clock)
        with self._guard:
            if name in self._leases:
                return None
            self._leases[name] = lease
        try:
            taken = self._link.call(partial(self._declare, lease), self._timing.try_seconds)
            if not taken:
                # Before the name is free again: what another thread of this process takes, this connection may look at.
                self._check_that_it_is_a_lock(name)
        except BaseException:
            self._forget(lease)
            raise
        if taken:
            return lease
        self._forget(lease)
        return None

    def _check_that_it_is_a_lock(self, name: str) -> None:
        # RabbitMQ refuses with 405 both a lock that somebody holds and a queue that is none. Only the latter can be
        # looked at by everybody.
        if self._clock() < self._trusted_until.get(name, 0.0):
            return
        depth = None
        with contextlib.suppress(BrokerRefused):
            depth = queue_depth(self._link, name, deadline_seconds=self._timing.try_seconds)
        if depth is not None:
            raise NeedsOperator(
                Reason.LOCK_BLOCKED, f"the queue {name} exists, but is no lock: somebody declared it, so delete it"
            )
        if self._names.is_slot(name):
            # Locks of requests are asked for once, and are without number.
            self._trusted_until[name] = self._clock() + self._timing.trust_seconds

    def _forget(self, lease: Lease) -> None:
        lease.released = True
        with self._guard:
            if self._leases.get(lease.name) is lease:
                del self._leases[lease.name]

    def _release(self, lease: Lease, deadline_seconds: float) -> None:
        lease.released = True
        try:
            with contextlib.suppress(BrokerFailure):
                self._link.call(partial(self._give_back, lease), deadline_seconds)
        finally:
            # Not before: a thread of this process that took the name meanwhile would have its queue deleted.
            self._forget(lease)

    # --- on the link's thread ---

    def _new_generation(self, connection: Connection) -> None:
        if self._opened_before:
            self._no_new_slot_before = self._clock() + self._timing.new_slot_grace_seconds
        self._opened_before = True
        for lease in self._all():
            if lease.taken and not lease.released and not lease.lost:
                self._declare(lease, connection, Future())
        self._ask_all(connection)

    def _all(self) -> list[Lease]:
        with self._guard:
            return list(self._leases.values())

    def _declare(self, lease: Lease, connection: Connection, promise: Promise[bool]) -> None:
        """Make the queue; the promise says whether it is ours now."""

        def opened(channel: Channel) -> None:
            channel.add_on_close_callback(partial(self._closed, lease, promise))
            asked_at = self._clock()
            done = partial(self._declared, lease, promise, channel, asked_at)
            channel.queue_declare(lease.name, durable=False, exclusive=True, callback=done)

        connection.channel(on_open_callback=opened)

    def _declared(self, lease: Lease, promise: Promise[bool], channel: Channel, asked_at: float, _frame: Any) -> None:
        lease.channel, lease.taken, lease.asking = channel, True, False
        lease.prove(asked_at)
        kept = keep(promise, value=True)
        if lease.released or not kept:
            self._delete(lease, Future())

    def _closed(self, lease: Lease, promise: Promise[bool], channel: Channel, reason: BaseException) -> None:
        by_broker = isinstance(reason, pika.exceptions.ChannelClosedByBroker)
        if lease.channel is channel:
            lease.channel, lease.asking = None, False
        if by_broker and lease.taken and not lease.released:
            _LOG.warning("lease lost", lease=lease.name, reason=str(meaning(reason)))
            lease.lose()
        error = meaning(reason)
        if isinstance(error, BrokerRefused) and error.code == _HELD_BY_ANOTHER:
            keep(promise, value=False)
        else:
            fail(promise, error)

    def _ask_all(self, connection: Connection) -> None:
        if not connection.is_open:
            return
        for lease in self._all():
            self._ask(lease)
        connection.ioloop.call_later(self._timing.ask_every_seconds, partial(self._ask_all, connection))

    def _ask(self, lease: Lease) -> None:
        if lease.channel is None or lease.asking or lease.released or not lease.channel.is_open:
            return
        lease.asking = True
        answered = partial(self._answered, lease, self._clock())
        lease.channel.queue_declare(lease.name, passive=True, callback=answered)

    def _answered(self, lease: Lease, asked_at: float, _frame: Any) -> None:
        lease.asking = False
        lease.prove(asked_at)

    def _give_back(self, lease: Lease, _connection: Connection, promise: Promise[None]) -> None:
        if lease.channel is None or not lease.channel.is_open:
            keep(promise, None)
            return
        self._delete(lease, promise)

    def _delete(self, lease: Lease, promise: Promise[None]) -> None:
        channel = lease.channel

        def deleted(_frame: Any) -> None:
            keep(promise, None)
            close(channel)

        channel.add_on_close_callback(lambda *_: keep(promise, None))
        channel.queue_delete(lease.name, callback=deleted)


def _told(names: Sequence[str]) -> str:
    return f"{len(names)} slots like {names[0]}"
