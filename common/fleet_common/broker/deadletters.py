"""The queue of dead letters: read whole without taking anything out, and rid of what was settled.

Role: one consumer holds everything unacked. What is not removed goes back into its old place when its channel ends,
however it ends, so that no crash can lose a letter. What shapes this, as seen on 3.10, 4.0 and 4.3:

- Of more than 32 messages that were got with ``basic.get``, those not acked come back in any order, and some that were
  acked just before the channel was closed come back, too. A consumer has neither fault.
- An ack has no answer. A get has, by the queue itself and after the acks before it, so it proves them.
- RabbitMQ 4 drops a message after 20 looks (https://www.rabbitmq.com/docs/quorum-queues, "Poison message handling");
  this queue has a limit of 1,000,000. ``tests/broker/test_dead.py`` looks more often.

Neighbours: ``retry`` buries, :mod:`fleet_common.dead` says what a letter means, the ``dead`` commands decide.
Threading: one thread reads and removes; the channel lives on the link's thread.
"""

from __future__ import annotations

import hashlib
import queue
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import pika

from fleet_common.broker.channels import Channel, close, open_channel
from fleet_common.broker.failures import BrokerFailure, BrokerUnavailable
from fleet_common.broker.inspect import queue_depth
from fleet_common.broker.link import Link
from fleet_common.broker.names import Names
from fleet_common.broker.promises import Promise, fail, keep, meaning
from fleet_common.broker.session import Connection
from fleet_common.broker.waiting import Deadline
from fleet_common.errors import Reason, failure
from fleet_common.messages import MAX_BODY_BYTES

MOST_LETTERS: Final = 65_535
"""What one consumer may hold; the others wait behind them."""

_ANSWER_SECONDS: Final = 10.0
_FREE_SECONDS: Final = 10.0
_QUIET_SECONDS: Final = 0.2
_STALLED_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Buried:
    """One message of the queue, as the broker has it.

    Attributes:
        body: As it was submitted; the first MiB of a larger one, so that no letter needs more memory than that.
        size_bytes: Of the whole body.
        digest: SHA-256 of the whole body, in hexadecimal.
        headers: AMQP headers; believed only when the message is the fleet's own.
        user_id: The broker user who published this copy, checked by the broker; None when it was not set.
        message_id: The request's id, as the publisher says.
        routing_key: The key under which the request came through its lane: the broker keeps it when it buries, and so
            does a worker.
        tag: The delivery, on the channel that holds it.
    """

    body: bytes
    size_bytes: int
    digest: str
    headers: Mapping[str, Any]
    user_id: str | None
    message_id: str | None
    routing_key: str
    tag: int


class DeadQueue:
    """All dead letters, held until the end of the ``with`` block; letters that are buried meanwhile join them.

    Args:
        link: A connected link that never publishes.
        names: Of the queue.
        free_seconds: How long to wait for another one who holds them.
        pause: Sleeps between two looks.
    """

    def __init__(
        self,
        link: Link,
        names: Names,
        *,
        free_seconds: float = _FREE_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._link = link
        self._queue = names.dead
        self._free_seconds = free_seconds
        self._pause = pause
        self._expected = 0
        self._arrived: queue.Queue[Buried | None] = queue.Queue()
        self._channel: Channel = None
        self._asking: Promise[Any] | None = None
        self._lost = ""

    def __enter__(self) -> Self:
        """Begin to hold them.

        Raises:
            BrokerFailure: There is no connection, no answer, no permission (403) or no such queue (404).
            Transient: ``lock-held``: somebody else holds them, so only a part would be seen.
        """
        self._expected = self._wait_free()
        self._channel = self._link.call(self._open, _ANSWER_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what was not removed, in its old order; the end of the connection does the same."""
        channel = self._channel
        self._link.post(lambda _: close(channel))

    def read(self) -> Iterator[Buried]:
        """Everything that was there at the beginning, the oldest first, and what came until then.

        Raises:
            BrokerFailure: The broker or its channel went away: all letters are back in their queue.
        """
        count, stalled = 0, Deadline(_STALLED_SECONDS)
        while not (stalled.over and self._arrived.empty()):
            try:
                buried = self._arrived.get(timeout=_QUIET_SECONDS)
            except queue.Empty:
                if count >= self._expected:
                    return
                continue
            if buried is None:
                raise self._gone()
            yield buried
            count, stalled = count + 1, Deadline(_STALLED_SECONDS)

    def remove(self, tags: Collection[int]) -> None:
        """Take letters out for ever; returns when the queue has done it.

        Raises:
            BrokerFailure: It may not have: the letters may still be there.
        """
        self._link.call(partial(self._ack, tags), _ANSWER_SECONDS)

    def _wait_free(self) -> int:
        deadline = Deadline(self._free_seconds)
        while (depth := queue_depth(self._link, self._queue)) is not None and depth.consumers:
            if deadline.over:
                raise failure(
                    Reason.LOCK_HELD,
                    f"another command holds the dead letters of {self._queue}: wait until it has ended",
                )
            self._pause(_PAUSE_SECONDS)
        return min(depth.ready, MOST_LETTERS) if depth else 0

    def _gone(self) -> BrokerFailure:
        return BrokerUnavailable(f"the channel that held {self._queue} is closed, all letters went back: {self._lost}")

    # --- on the link's thread ---

    def _open(self, connection: Connection, promise: Promise[Channel]) -> None:
        def opened(channel: Channel) -> None:
            channel.add_on_close_callback(self._closed)
            channel.add_on_cancel_callback(lambda _: close(channel))
            channel.add_callback(self._answered, [pika.spec.Basic.GetEmpty], one_shot=False)
            channel.basic_qos(prefetch_count=MOST_LETTERS, callback=lambda _: consume(channel))

        def consume(channel: Channel) -> None:
            channel.basic_consume(self._queue, self._received, callback=lambda _: keep(promise, channel))

        open_channel(connection, promise, opened)

    def _received(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        self._arrived.put(_buried(method, properties, body))

    def _ack(self, tags: Collection[int], _connection: Connection, promise: Promise[None]) -> None:
        if not self._channel.is_open:
            raise self._gone()
        self._asking = promise
        for tag in tags:
            self._channel.basic_ack(tag)
        # Gets nothing but where there are more letters than one may hold; those come back with all others.
        self._channel.basic_get(self._queue, self._answered)

    def _answered(self, *_anything: Any) -> None:
        if self._asking is not None:
            keep(self._asking, None)

    def _closed(self, _channel: Channel, reason: BaseException) -> None:
        self._lost = str(meaning(reason))
        if self._asking is not None:
            fail(self._asking, meaning(reason))
        self._arrived.put(None)


def _buried(method: Any, properties: Any, body: bytes) -> Buried:
    return Buried(
        body=body[:MAX_BODY_BYTES],
        size_bytes=len(body),
        digest=hashlib.sha256(body).hexdigest(),
        headers=_plain(properties.headers or {}),
        user_id=_text(properties.user_id),
        message_id=_text(properties.message_id),
        routing_key=str(method.routing_key),
        tag=int(method.delivery_tag),
    )


def _plain(value: Any) -> Any:
    """Headers without pika's own kinds of values: naive times, numbers that are not quite int, bytes."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return _text(value) if isinstance(value, bytes) else value


def _text(value: Any) -> str | None:
    # Pika hands out bytes where a publisher's text is no UTF-8.
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value is None else str(value)
