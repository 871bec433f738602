"""One consumer that survives its connection: attached anew in every generation, read by an ordinary thread.

Role: brings messages of a stream or an exclusive queue from the link's thread to a reader. The number of messages in
memory is bounded by the prefetch: the broker gets an ack only for what the reader has taken. Neighbours: ``streams``,
``follower``. Threading: one thread reads; attaching and receiving happen on the link's thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fleet_common.broker.channels import Channel, close
from fleet_common.broker.failures import BrokerFailure, BrokerRefused, BrokerUnavailable
from fleet_common.broker.link import Link
from fleet_common.broker.promises import Promise, keep, meaning
from fleet_common.broker.session import Connection

PREFETCH: Final = 500
_ACK_EVERY: Final = PREFETCH // 4
_AGAIN_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it was received.

    Attributes:
        offset: Its place in the stream; None for a message of an ordinary queue.
    """

    body: bytes
    routing_key: str
    offset: int | None
    tag: int = field(repr=False, compare=False)
    channel: Channel = field(repr=False, compare=False)


Attach = Callable[[Channel, Callable[..., None], Callable[[Any], None]], None]
"""Declares, binds and consumes on a fresh channel; gets the channel, and the callbacks for messages and for done."""


class Subscription:
    """Messages of one consumer.

    Args:
        link: On which to consume; must not be one that publishes.
        attach: Called on the link's thread in every generation.
    """

    def __init__(self, link: Link, attach: Attach) -> None:
        self._link = link
        self._attach = attach
        self._arrived: queue.Queue[Message] = queue.Queue()
        self._attached = threading.Event()
        self._refused: BrokerRefused | None = None
        self._channel: Channel = None
        self._closed = False
        self._unacked = 0
        self.attachments = 0
        """How often it was attached: more than once means that a queue of its own was lost in between."""
        link.on_open(self._open)

    def wait_attached(self, deadline_seconds: float) -> None:
        """Wait until the broker delivers to us.

        Raises:
            BrokerRefused: It does not let us.
            BrokerUnavailable: There is no connection by the deadline.
        """
        done = self._attached.wait(deadline_seconds)
        self._raise_refusal()
        if not done:
            reason = self._link.state.reason or "it does not let us read yet"
            raise BrokerUnavailable(f"{self._link.address} did not answer within {deadline_seconds:g} s: {reason}")

    def get(self, timeout_seconds: float) -> Message | None:
        """The next message; None when none came in time.

        Raises:
            BrokerRefused: The broker does not let us consume.
        """
        try:
            message = self._arrived.get(timeout=timeout_seconds) if timeout_seconds else self._arrived.get_nowait()
        except queue.Empty:
            self._raise_refusal()
            return None
        self._unacked += 1
        if self._unacked >= _ACK_EVERY or self._arrived.empty():
            self._unacked = 0
            self._link.post(lambda _: _ack_up_to(message))
        return message

    def close(self, deadline_seconds: float = 5.0) -> None:
        """Stop receiving. The channel is closed, never the consumer cancelled: see :func:`_ack_up_to`."""
        self._closed = True
        try:
            self._link.call(self._leave, deadline_seconds)
        except BrokerFailure:
            return

    def _raise_refusal(self) -> None:
        if self._refused is not None:
            raise self._refused

    # --- on the link's thread ---

    def _open(self, connection: Connection) -> None:
        if self._closed or not connection.is_open or (self._channel is not None and self._channel.is_open):
            return
        self._channel = connection.channel(on_open_callback=self._opened)
        self._channel.add_on_close_callback(self._lost)

    def _opened(self, channel: Channel) -> None:
        def receive(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            offset = (properties.headers or {}).get("x-stream-offset")
            place = None if offset is None else int(offset)
            self._arrived.put(Message(body, str(method.routing_key), place, method.delivery_tag, channel))

        channel.basic_qos(prefetch_count=PREFETCH, callback=lambda _: self._attach(channel, receive, self._ready))

    def _ready(self, _frame: Any) -> None:
        self.attachments += 1
        self._attached.set()

    def _lost(self, channel: Channel, reason: BaseException) -> None:
        self._attached.clear()
        error = meaning(reason)
        if isinstance(error, BrokerRefused):
            self._refused = error
            self._attached.set()
        elif channel.connection.is_open:
            # The broker is still starting; a new connection would attach by itself, an old one must try again.
            connection = channel.connection
            connection.ioloop.call_later(_AGAIN_SECONDS, lambda: self._open(connection))

    def _leave(self, _connection: Connection, promise: Promise[None]) -> None:
        if self._channel is not None and self._channel.is_open:
            self._channel.add_on_close_callback(lambda *_: keep(promise, None))
            close(self._channel)
        else:
            keep(promise, None)


def _ack_up_to(message: Message) -> None:
    # RabbitMQ 3.10 closes the whole connection when a stream's message is rejected, which pika does for messages that
    # arrive after a cancel. Closing the channel is clean on every version.
    if message.channel.is_open:
        message.channel.basic_ack(message.tag, multiple=True)
