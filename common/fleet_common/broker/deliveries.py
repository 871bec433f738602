"""One request as the broker handed it over, and the handle to settle it.

Role: frozen data, the rule that counts crashes, and ``ack``. One channel per delivery: a consumer time-out closes only
the channel of its delivery. Neighbours: ``lanes`` makes deliveries, ``retry`` copies them. Threading: a delivery may be
used from any thread; its handle is written on the link's thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import pika.exceptions

from fleet_common.broker.channels import Channel, close
from fleet_common.broker.failures import BrokerFailure
from fleet_common.broker.link import Link
from fleet_common.broker.promises import Promise, keep
from fleet_common.broker.session import Connection
from fleet_common.messages import Priority

ACQUIRED_COUNT_SINCE: Final = (4, 3)
"""Older brokers pass on whatever a publisher wrote into ``x-acquired-count``."""


class Handle:
    """The channel that holds one delivery."""

    def __init__(self, link: Link, channel: Channel, tag: int) -> None:
        self._link = link
        self._channel = channel
        self._tag = tag
        self._settled = False
        self._lost = False
        channel.add_on_close_callback(self._closed)

    @property
    def lost(self) -> bool:
        """Whether the broker has taken it back before it was settled."""
        return self._lost

    def ack(self, deadline_seconds: float) -> bool:
        """Settle; True when the broker has said that it closed the channel after the ack."""
        with contextlib.suppress(BrokerFailure):
            return self._link.call(self._ack, deadline_seconds)
        return False

    def give_up(self) -> None:
        """Let the broker take it back; of the link's thread, for a delivery that came when nobody waited any more."""
        close(self._channel)

    def _ack(self, _connection: Connection, promise: Promise[bool]) -> None:
        if not self._channel.is_open:
            keep(promise, value=False)
            return
        self._channel.add_on_close_callback(partial(self._answer, promise))
        self._channel.basic_ack(self._tag)
        # An ack has no answer of its own. The channel's end has one, and comes after the ack.
        self._settled = True
        self._channel.close()

    def _answer(self, promise: Promise[bool], _channel: Channel, reason: BaseException) -> None:
        keep(promise, value=isinstance(reason, pika.exceptions.ChannelClosedByClient))

    def _closed(self, _channel: Channel, reason: BaseException) -> None:
        self._lost = not (self._settled and isinstance(reason, pika.exceptions.ChannelClosedByClient))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request that this worker holds until it acks.

    Attributes:
        body: The request as published; at most what the broker takes (16 MiB on RabbitMQ 4).
        headers: AMQP headers; anybody may have written them.
        user_id: The broker user who published this copy, checked by the broker; None when it was not set.
        message_id: The request's id, as the publisher says.
        timestamp: When it was published, as the publisher says; clocks of acquisition hosts are hours off.
        redelivered: Whether it was delivered before.
        deliveries: How often it was delivered before without being settled: crashes, and restarts of the broker.
        lane: The lane of the queue it came from.
        priority: The class of that queue.
        routing_key: As published.
    """

    body: bytes
    headers: Mapping[str, Any]
    user_id: str | None
    message_id: str | None
    timestamp: datetime | None
    redelivered: bool
    deliveries: int
    lane: str
    priority: Priority
    routing_key: str
    handle: Handle = field(repr=False, compare=False)

    @property
    def lost(self) -> bool:
        """Whether the broker has given it to somebody else, or will: it must not be acked any more."""
        return self.handle.lost

    def ack(self, deadline_seconds: float = 10.0) -> bool:
        """Settle it; False when it was lost, or when the broker's answer did not come, so it may come again."""
        return self.handle.ack(deadline_seconds)


@dataclass(frozen=True, slots=True)
class Origin:
    """The queue a delivery came from, and the link that holds it."""

    link: Link
    lane: str
    priority: Priority


def delivery_from(origin: Origin, channel: Channel, method: Any, properties: Any, body: bytes) -> Delivery:
    """What pika hands over, as a delivery."""
    headers: Mapping[str, Any] = MappingProxyType(dict(properties.headers or {}))
    return Delivery(
        body=body,
        headers=headers,
        user_id=_text(properties.user_id),
        message_id=_text(properties.message_id),
        timestamp=_moment(properties.timestamp),
        redelivered=bool(method.redelivered),
        deliveries=count_deliveries(headers, redelivered=method.redelivered, version=origin.link.server_version),
        lane=origin.lane,
        priority=origin.priority,
        routing_key=str(method.routing_key),
        handle=Handle(origin.link, channel, method.delivery_tag),
    )


def count_deliveries(headers: Mapping[str, Any], *, redelivered: bool, version: tuple[int, ...]) -> int:
    """How often a message was delivered before, by the broker's own count.

    A first delivery shows whatever a publisher wrote into the count headers, so only redeliveries are believed.
    """
    if not redelivered:
        return 0
    names = ["x-delivery-count"]
    if version >= ACQUIRED_COUNT_SINCE:
        names.append("x-acquired-count")
    counts = [value for name in names if isinstance(value := headers.get(name), int)]
    return max([1, *map(int, counts)])


def _text(value: Any) -> str | None:
    # Pika hands out bytes where a publisher's text is no UTF-8.
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value is None else str(value)


def _moment(value: Any) -> datetime | None:
    try:
        return None if value is None else datetime.fromtimestamp(int(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None
