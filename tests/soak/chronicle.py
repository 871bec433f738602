"""Reads the event log with pika's own client, over all restarts of the broker.

Threading: one thread reads, and ends with :meth:`Chronicle.close`; everybody may ask.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pika
import pika.exceptions

from soak.brokereyes import BrokerEyes
from soak.telling import Key, Told, told

_LOG: Final = "import.event-log"
_LOOK_SECONDS: Final = 0.5
_AGAIN_SECONDS: Final = 1.0


class Chronicle:
    """Everything that was told since the beginning of the log."""

    def __init__(self, broker: BrokerEyes) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._events: defaultdict[Key, list[Told]] = defaultdict(list)
        self._next_offset = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="chronicle")
        self._thread.start()

    def events(self) -> Mapping[Key, tuple[Told, ...]]:
        """What was told so far, by lane and request."""
        with self._lock:
            return {key: tuple(events) for key, events in self._events.items()}

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join(30)

    def _read(self) -> None:
        while not self._closed.is_set():
            # The broker is taken away on purpose; the log is read on where it was left.
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                self._read_on()
            self._closed.wait(_AGAIN_SECONDS)

    def _read_on(self) -> None:
        with self._broker.channel("operator") as channel:
            for offset, event in self._messages(channel):
                with self._lock:
                    self._events[event.key].append(event)
                self._next_offset = offset + 1

    def _messages(self, channel: Any) -> Iterator[tuple[int, Told]]:
        channel.basic_qos(prefetch_count=500)
        arguments = {"x-stream-offset": self._next_offset}
        for method, properties, body in channel.consume(_LOG, arguments=arguments, inactivity_timeout=_LOOK_SECONDS):
            if self._closed.is_set():
                return
            if method is None:
                continue
            channel.basic_ack(method.delivery_tag)
            offset = int(properties.headers["x-stream-offset"])
            # The first chunk begins before the offset that was asked for.
            if offset >= self._next_offset:
                yield offset, told(json.loads(body))
