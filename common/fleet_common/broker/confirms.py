"""Channels in confirm mode: one message at a time, or many that nobody waits for.

Role: the bookkeeping of confirms and returns. One message per channel makes every answer unambiguous: a closed channel
refuses exactly the message that was on it. Neighbours: ``publisher``. Threading: all on the link's thread, but for
:meth:`BestEffort.offer` and :meth:`BestEffort.wait_settled`, which any thread may call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pika

from fleet_common.broker.channels import Channel, open_channel
from fleet_common.broker.link import Link
from fleet_common.broker.promises import Promise, fail, keep, meaning
from fleet_common.broker.session import Connection

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish.

    Attributes:
        exchange: Never the default exchange: nobody of the fleet may use it.
        routing_key: ``<lane>.<class>`` or ``<lane>.<kind>``; anything for a fanout exchange.
        body: As it goes over the wire.
        headers: AMQP headers.
        message_id: The request's or event's id.
        mandatory: Whether it is an error when no queue takes the message.
        persistent: Whether it survives a restart of the broker.
        timestamp: When it was made; now when left out.
        content_type: What the body is.
        expiration_milliseconds: How long it stays in its queue at most; as long as the queue says when left out.
    """

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    mandatory: bool = True
    persistent: bool = True
    timestamp: datetime | None = None
    content_type: str = JSON
    expiration_milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the broker said of a message."""

    confirmed: bool
    returned: str = ""


class ConfirmChannel:
    """A channel with at most one message on the way; back in the pool when the broker has spoken."""

    def __init__(self, channel: Channel, user: str, pool: list[ConfirmChannel]) -> None:
        self._channel = channel
        self._user = user
        self._pool = pool
        self._promise: Promise[Outcome] | None = None
        self._returned = ""
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_close)

    def begin(self, then: Callable[[], None]) -> None:
        """Switch to confirm mode and go on."""
        self._channel.confirm_delivery(self._on_confirm, lambda _: then())

    @property
    def usable(self) -> bool:
        """Whether the channel is still open."""
        return bool(self._channel.is_open)

    def send(self, message: Outgoing, promise: Promise[Outcome]) -> None:
        """Publish; the promise is kept with what the broker says."""
        self._promise, self._returned = promise, ""
        basic_publish(self._channel, message, self._user)

    def _on_return(self, _channel: Channel, method: Any, _properties: Any, _body: bytes) -> None:
        self._returned = f"{method.reply_code} {method.reply_text}"

    def _on_close(self, _channel: Channel, reason: BaseException) -> None:
        if self._promise is not None:
            fail(self._promise, meaning(reason))

    def _on_confirm(self, frame: Any) -> None:
        # The broker sends a return before the confirm of the same message.
        promise, self._promise = self._promise, None
        self._pool.append(self)
        if promise is not None:
            keep(promise, Outcome(isinstance(frame.method, pika.spec.Basic.Ack), self._returned))


class BestEffort:
    """Messages that nobody waits for: sent while the broker is well, dropped and counted otherwise.

    Args:
        link: Where to publish.
        most_on_the_way: Unconfirmed messages at most; further ones are dropped.
    """

    def __init__(self, link: Link, most_on_the_way: int = 256) -> None:
        self._link = link
        self._most = most_on_the_way
        self._changed = threading.Condition()
        self._on_the_way = 0
        self._dropped = 0
        self._channel: Channel = None
        self._waiting: list[Outgoing] = []
        self._tags: set[int] = set()
        self._last_tag = 0

    @property
    def dropped(self) -> int:
        """Messages that were never confirmed."""
        return self._dropped

    def offer(self, message: Outgoing) -> bool:
        """Send a message if that is possible right now; False when it was dropped."""
        state = self._link.state
        with self._changed:
            if not state.connected or state.blocked or self._on_the_way >= self._most:
                self._dropped += 1
                return False
            self._on_the_way += 1
        if self._link.post(partial(self._send, message)):
            return True
        self._settle(1, lost=True)
        return False

    def wait_settled(self, deadline_seconds: float) -> bool:
        """Wait until nothing is on the way; False when something still is by the deadline."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._on_the_way, deadline_seconds)

    def _settle(self, count: int, *, lost: bool) -> None:
        with self._changed:
            self._on_the_way -= count
            self._dropped += count if lost else 0
            self._changed.notify_all()

    # --- on the link's thread ---

    def _send(self, message: Outgoing, connection: Connection) -> None:
        if self._channel is not None and self._channel.is_open and not self._waiting:
            self._publish(message)
            return
        self._waiting.append(message)
        if len(self._waiting) == 1:
            self._channel = connection.channel(on_open_callback=self._opened)
            self._channel.add_on_close_callback(self._closed)

    def _opened(self, channel: Channel) -> None:
        self._last_tag = 0
        channel.confirm_delivery(self._on_confirm, lambda _: self._flush())

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._publish(message)

    def _publish(self, message: Outgoing) -> None:
        self._last_tag += 1
        self._tags.add(self._last_tag)
        basic_publish(self._channel, message, self._link.address.user)

    def _on_confirm(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        done = {other for other in self._tags if other <= tag} if frame.method.multiple else {tag} & self._tags
        self._tags -= done
        self._settle(len(done), lost=isinstance(frame.method, pika.spec.Basic.Nack))

    def _closed(self, channel: Channel, _reason: BaseException) -> None:
        if channel is self._channel:
            lost = len(self._tags) + len(self._waiting)
            self._tags.clear()
            self._waiting.clear()
            self._channel = None
            self._settle(lost, lost=True)


def open_confirm_channel(
    connection: Connection,
    promise: Promise[Outcome],
    user: str,
    pool: list[ConfirmChannel],
    then: Callable[[ConfirmChannel], None],
) -> None:
    """Open a channel in confirm mode that goes into the pool after its message."""

    def opened(channel: Channel) -> None:
        confirming = ConfirmChannel(channel, user, pool)
        confirming.begin(lambda: then(confirming))

    open_channel(connection, promise, opened)


def basic_publish(channel: Channel, message: Outgoing, user: str) -> None:
    """Put one message on the wire, with the user id that the broker checks."""
    moment = message.timestamp or datetime.now(UTC)
    properties = pika.BasicProperties(
        content_type=message.content_type,
        delivery_mode=2 if message.persistent else 1,
        headers=dict(message.headers) or None,
        message_id=message.message_id,
        timestamp=int(moment.timestamp()),
        user_id=user,
        expiration=None if message.expiration_milliseconds is None else str(message.expiration_milliseconds),
    )
    channel.basic_publish(message.exchange, message.routing_key, message.body, properties, message.mandatory)
