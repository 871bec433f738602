"""Publishing with confirms: returns when the broker has the message, and says what it knows when not.

Role: the only way from the fleet into the broker. Neighbours: ``confirms`` does the bookkeeping, ``retry`` settles
requests with it. Threading: has a link (and its thread) of its own, because a connection that has published hangs in
everything while the broker has a memory or disk alarm; every method may be called from any other thread.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.confirms import BestEffort, ConfirmChannel, Outcome, Outgoing, open_confirm_channel
from fleet_common.broker.failures import (
    BrokerRefused,
    BrokerSilent,
    BrokerUnavailable,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
)
from fleet_common.broker.link import Link
from fleet_common.broker.linkstate import Backoff, LinkState
from fleet_common.broker.names import Names
from fleet_common.broker.promises import Promise
from fleet_common.broker.session import Call, Connection
from fleet_common.broker.waiting import Clock, Deadline
from fleet_common.events import Event, encode_event

UNROUTABLE_GRACE_SECONDS: Final = 30.0
"""RabbitMQ 3.10 returns messages as unroutable for half a second after its start, see docs/reference/broker.md."""

_OUR_FAULT: Final = frozenset({403, 404, 406})
_PAUSE_SECONDS: Final = 0.25
_DEADLINE_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Try:
    """What is known so far of one message."""

    message: Outgoing
    deadline_seconds: float
    deadline: Deadline
    call: Call[Outcome] | None = None
    sent: bool = False
    unroutable_since: float | None = None
    returned: str = ""


@dataclass(frozen=True, slots=True)
class OnTheWay:
    """A message that was sent, or could not be sent yet.

    Attributes:
        wait: Returns when the broker has confirmed it, sending it again where necessary, or raises what
            :meth:`Publisher.publish` raises. To be called once, by any thread.
    """

    wait: Callable[[], None]


class Publisher:
    """Publishes over a connection of its own, which comes back by itself.

    Args:
        address: The broker.
        names: Of the fleet's exchanges.
        on_state: As in :class:`fleet_common.broker.link.Link`.
        backoff: Waits between tries to connect.
        unroutable_grace_seconds: How long "unroutable" is not yet a verdict.
        clock: For deadlines.
        pause: Sleeps between two tries of an unroutable message.
    """

    def __init__(  # noqa: PLR0913  all but the address have defaults
        self,
        address: BrokerAddress,
        names: Names | None = None,
        *,
        on_state: Callable[[LinkState], None] | None = None,
        backoff: Backoff | None = None,
        unroutable_grace_seconds: float = UNROUTABLE_GRACE_SECONDS,
        clock: Clock = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.names = names or Names()
        self.link = Link(address, role="publish", on_state=on_state, backoff=backoff)
        self._grace_seconds = unroutable_grace_seconds
        self._clock = clock
        self._pause = pause
        self._pool: list[ConfirmChannel] = []
        self._best_effort = BestEffort(self.link)
        self.link.on_open(self._new_generation)

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now."""
        return self.link.connected

    @property
    def dropped(self) -> int:
        """Progress events and rings of the doorbell that were not delivered."""
        return self._best_effort.dropped

    def start(self) -> None:
        """Begin to connect, for ever; returns at once."""
        self.link.start()

    def stop(self, deadline_seconds: float) -> None:
        """Let what nobody waits for go out, within the first half of the deadline, and close the connection; final."""
        deadline = Deadline(deadline_seconds)
        self._best_effort.wait_settled(deadline_seconds / 2)
        self.link.stop(deadline.left_seconds)

    def wait_connected(self, deadline_seconds: float) -> bool:
        """Wait until there is a connection; False when there is none by the deadline."""
        return self.link.wait_connected(deadline_seconds)

    def publish(self, message: Outgoing, *, deadline_seconds: float = _DEADLINE_SECONDS) -> None:
        """Publish and return when the broker has confirmed.

        Connections that come and go meanwhile cost nothing but time: the message is sent again, so it may arrive more
        than once, which requests and events bear by their ids.

        Raises:
            PublishRefused: A full lane (negative confirm), no permission (403), no such exchange (404), or another
                user id, or a body larger than the broker takes (406).
            PublishUnroutable: No queue wanted it, for 30 s or until the deadline.
            PublishTimeout: Sent, but not confirmed by the deadline: safe to repeat.
            BrokerUnavailable: Never sent: no connection by the deadline.
        """
        self.begin(message, deadline_seconds=deadline_seconds).wait()

    def begin(self, message: Outgoing, *, deadline_seconds: float = _DEADLINE_SECONDS) -> OnTheWay:
        """Send a message, and wait for its confirm later: with many on the way none waits for another's.

        They arrive in about the order in which they were sent. Nothing is raised here.

        Args:
            message: What to publish.
            deadline_seconds: From now on, for the confirm.
        """
        trying = _Try(message, deadline_seconds, Deadline(deadline_seconds, self._clock))
        with contextlib.suppress(BrokerUnavailable):
            trying.call = self._sent(trying, 0.0)
        return OnTheWay(partial(self._finish, trying))

    def begin_event(self, event: Event, *, deadline_seconds: float = _DEADLINE_SECONDS) -> OnTheWay:
        """Tell an event as :meth:`publish_event` with ``required``, and wait for its confirm later."""
        return self.begin(self._telling(event, required=True), deadline_seconds=deadline_seconds)

    def publish_event(self, event: Event, *, required: bool, deadline_seconds: float = _DEADLINE_SECONDS) -> None:
        """Tell an event.

        Args:
            event: What happened.
            required: True waits for the confirm and raises what :meth:`publish` raises; False never waits and never
                raises: the event is dropped and counted while the broker is not there.
            deadline_seconds: For a required event.
        """
        message = self._telling(event, required=required)
        if required:
            self.publish(message, deadline_seconds=deadline_seconds)
        else:
            self._best_effort.offer(message)

    def ring(self, freed: str = "") -> None:
        """Ring the doorbell of idle workers, or of those who wait for the slot that was given back; never waits.

        Without effect while the broker is not there.
        """
        self._best_effort.offer(Outgoing(self.names.wake, "", freed.encode(), mandatory=False, persistent=False))

    def _telling(self, event: Event, *, required: bool) -> Outgoing:
        return Outgoing(
            self.names.events,
            event.routing_key,
            encode_event(event),
            message_id=str(event.event_id),
            mandatory=required,
        )

    def _finish(self, trying: _Try) -> None:
        while not self._try(trying):
            if trying.deadline.over:
                raise self._given_up(trying)

    def _try(self, trying: _Try) -> bool:
        """One try; True when confirmed."""
        if trying.call is None and self.link.stopped:
            raise self._given_up(trying)
        try:
            call, trying.call = trying.call or self._sent(trying, trying.deadline.left_seconds), None
            if call is None:
                return self._rest(trying)
            outcome = call.result(trying.deadline.left_seconds)
        except BrokerRefused as error:
            if error.code in _OUR_FAULT:
                raise PublishRefused(f"{_subject(trying.message)} was refused: {error}", error.code) from error
            return self._rest(trying)
        except (BrokerUnavailable, BrokerSilent):
            return self._rest(trying)
        return self._judge(trying, outcome)

    def _sent(self, trying: _Try, patience_seconds: float) -> Call[Outcome] | None:
        """Put it on the way; None where the broker does not take it within the patience."""
        if not self.link.wait_writable(patience_seconds):
            return None
        call = self.link.begin(partial(self._send, trying.message))
        trying.sent = True
        return call

    def _judge(self, trying: _Try, outcome: Outcome) -> bool:
        if not outcome.confirmed:
            raise PublishRefused(
                f"{_subject(trying.message)} was refused with a negative confirm: the queue is full or has no majority"
            )
        if not outcome.returned:
            return True
        now = self._clock()
        trying.returned = outcome.returned
        trying.unroutable_since = now if trying.unroutable_since is None else trying.unroutable_since
        if now - trying.unroutable_since >= self._grace_seconds:
            raise _unroutable(trying)
        return self._rest(trying)

    def _rest(self, trying: _Try) -> bool:
        pause_seconds = _PAUSE_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311  spreads load
        self._pause(min(pause_seconds, trying.deadline.left_seconds))
        return False

    def _given_up(self, trying: _Try) -> Exception:
        if trying.returned:
            return _unroutable(trying)
        if trying.sent:
            return PublishTimeout(
                f"{_subject(trying.message)}: confirm timed out after {trying.deadline_seconds:g} s; "
                "it may or may not have arrived, and may safely be published again"
            )
        return BrokerUnavailable(
            f"{_subject(trying.message)} was not sent within {trying.deadline_seconds:g} s: "
            f"{self.link.state.reason or 'no connection'} ({self.link.address})"
        )

    # --- on the link's thread ---

    def _new_generation(self, _connection: Connection) -> None:
        self._pool = []

    def _send(self, message: Outgoing, connection: Connection, promise: Promise[Outcome]) -> None:
        while self._pool:
            channel = self._pool.pop()
            if channel.usable:
                channel.send(message, promise)
                return
        user = self.link.address.user
        open_confirm_channel(connection, promise, user, self._pool, lambda channel: channel.send(message, promise))


def _subject(message: Outgoing) -> str:
    return f"the message for exchange {message.exchange}, key {message.routing_key or '(none)'}"


def _unroutable(trying: _Try) -> PublishUnroutable:
    return PublishUnroutable(
        f"{_subject(trying.message)} found no queue ({trying.returned}): "
        "check the lane's name, and that `omero-fleet topology apply` was run for it"
    )
