"""Where a stream ends right now.

Role: one operation for a link. The count of a passive declare lags (by one on RabbitMQ 3.10), so the end is the highest
offset of the stream's last chunk, once the broker has nothing more to send. Neighbours: ``streams``. Threading: all on
the link's thread.
"""

from __future__ import annotations

from typing import Any, Final

from fleet_common.broker.channels import Channel, close, open_channel
from fleet_common.broker.promises import Promise, keep
from fleet_common.broker.session import Connection, Operation

_PREFETCH: Final = 1000
_MOST_LOOKS: Final = 40
_LOOKS_WHEN_EMPTY: Final = 5
_BETWEEN_LOOKS_SECONDS: Final = 0.05


def find_end(stream: str) -> Operation[int | None]:
    """An operation: the offset of the stream's last message, or None when it is empty."""

    def operation(connection: Connection, promise: Promise[int | None]) -> None:
        open_channel(connection, promise, lambda channel: _EndFinder(stream, channel, connection, promise).begin())

    return operation


class _EndFinder:
    """Consumes the last chunk and asks, behind it on the same channel, whether that was all."""

    def __init__(self, stream: str, channel: Channel, connection: Connection, promise: Promise[int | None]) -> None:
        self._stream = stream
        self._channel = channel
        self._connection = connection
        self._promise = promise
        self._highest: int | None = None
        self._highest_before: int | None = None
        self._looks = 0

    def begin(self) -> None:
        """Start to consume."""
        self._channel.basic_qos(prefetch_count=_PREFETCH, callback=lambda _: self._consume())

    def _consume(self) -> None:
        arguments = {"x-stream-offset": "last"}
        self._channel.basic_consume(self._stream, self._receive, arguments=arguments, callback=lambda _: self._look())

    def _receive(self, channel: Channel, method: Any, properties: Any, _body: bytes) -> None:
        self._highest = int(properties.headers["x-stream-offset"])
        channel.basic_ack(method.delivery_tag)

    def _look(self) -> None:
        if self._channel.is_open:
            self._channel.queue_declare(self._stream, passive=True, callback=self._looked)

    def _looked(self, frame: Any) -> None:
        self._looks += 1
        if self._is_settled(frame.method.message_count):
            keep(self._promise, self._highest)
            close(self._channel)
            return
        self._highest_before = self._highest
        pause_seconds = _BETWEEN_LOOKS_SECONDS if self._highest is None else 0
        self._connection.ioloop.call_later(pause_seconds, self._look)

    def _is_settled(self, count: int) -> bool:
        if self._highest is None:
            return self._looks > (_MOST_LOOKS if count else _LOOKS_WHEN_EMPTY)
        return self._highest == self._highest_before
