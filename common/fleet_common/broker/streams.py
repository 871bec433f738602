"""Reading streams: to their end, or following what is appended.

Role: the reader under the event log and the control log. Neighbours: ``subscription`` brings the messages,
``streamend`` finds the end, ``eventlog`` knows what they mean. Threading: every reader has a link, and its thread, of
its own; one thread reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, Literal, Self

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.channels import Channel
from fleet_common.broker.failures import BrokerSilent, BrokerUnavailable
from fleet_common.broker.link import Link
from fleet_common.broker.linkstate import Backoff
from fleet_common.broker.streamend import find_end
from fleet_common.broker.subscription import Attach, Message, Subscription
from fleet_common.broker.waiting import Deadline

Start = int | datetime | Literal["first", "next"]
"""An offset, a time by the broker's clock, everything that is still there, or only what is appended from now on."""

FOREVER: Final = float("inf")
_SILENCE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25


def never() -> bool:
    """A ``stop`` that never stops."""
    return False


class StreamReader:
    """Reads one stream over a connection of its own; also a context manager.

    Args:
        address: The broker, with a user who may read the stream.
        stream: Its name.
        backoff: Waits between tries to connect.

    Attributes:
        next_offset: Where a later reader would go on; None before anything was read.
    """

    def __init__(self, address: BrokerAddress, stream: str, *, backoff: Backoff | None = None) -> None:
        self.link = Link(address, role="read", backoff=backoff)
        self._stream = stream
        self.next_offset: int | None = None

    def start(self, deadline_seconds: float = _SILENCE_SECONDS) -> None:
        """Connect.

        Raises:
            BrokerUnavailable: Not connected by the deadline.
        """
        self.link.start()
        if not self.link.wait_connected(deadline_seconds):
            reason = self.link.state.reason
            self.link.stop(1.0)
            raise BrokerUnavailable(f"cannot read {self._stream} from {self.link.address}: {reason}")

    def stop(self, deadline_seconds: float = 5.0) -> None:
        """Close the connection; final."""
        self.link.stop(deadline_seconds)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def end(self, deadline_seconds: float = _SILENCE_SECONDS) -> int | None:
        """The offset of the last message right now; None when the stream is empty.

        A connection that is away, or a broker that is still starting, is waited for.

        Raises:
            BrokerUnavailable: Not there by the deadline.
            BrokerRefused: This user may not read the stream, or there is none.
        """
        deadline = Deadline(deadline_seconds)
        while True:
            try:
                return self.link.call(find_end(self._stream), deadline.left_seconds)
            except BrokerUnavailable:
                if deadline.over:
                    raise
                self.link.wait_connected(deadline.left_seconds)
                time.sleep(min(_LOOK_SECONDS, deadline.left_seconds))

    def messages_to_end(self, start: Start = "first") -> Iterator[Message]:
        """Every message up to what is the end at the time of the call.

        Raises:
            BrokerSilent: Nothing came for 30 s although the end is not reached.
            BrokerRefused: This user may not read the stream, or there is none.
        """
        end = self.end()
        if end is None or start == "next" or (isinstance(start, int) and start > end):
            return
        for message in self._messages(start, never, FOREVER, _SILENCE_SECONDS):
            yield message
            if offset_of(message) >= end:
                return
        raise BrokerSilent(f"reading {self._stream} up to {end}: nothing came for {_SILENCE_SECONDS:g} s")

    def follow_messages(
        self, start: Start, *, stop: Callable[[], bool] = never, deadline_seconds: float = FOREVER
    ) -> Iterator[Message]:
        """Messages as they are appended, across losses of the connection without gaps or repetitions.

        Args:
            start: Where to begin; what ``next`` means is settled before this returns.
            stop: Asked at least four times a second; True ends the iteration.
            deadline_seconds: Ends the iteration.
        """
        if start == "next":
            # A number, so that nothing is missed when the connection breaks before the first message.
            end = self.end()
            start = 0 if end is None else end + 1
        return self._messages(start, stop, deadline_seconds, FOREVER)

    def _messages(
        self, start: Start, stop: Callable[[], bool], deadline_seconds: float, silence_seconds: float
    ) -> Iterator[Message]:
        place = _Place(start)
        subscription = Subscription(self.link, _from(self._stream, place))
        deadline, silence = Deadline(deadline_seconds), Deadline(silence_seconds)
        try:
            while not (stop() or deadline.over or silence.over):
                message = subscription.get(min(_LOOK_SECONDS, deadline.left_seconds, silence.left_seconds))
                if message is None or not place.advance(offset_of(message)):
                    continue
                self.next_offset = offset_of(message) + 1
                yield message
                silence = Deadline(silence_seconds)
        finally:
            subscription.close()


class _Place:
    """Where in the stream a reader is, which is also where to attach the next time."""

    def __init__(self, start: Start) -> None:
        self.start: Start = start

    def advance(self, offset: int) -> bool:
        """Note a message; False when it is before the place, as after attaching anew."""
        if isinstance(self.start, int) and offset < self.start:
            return False
        self.start = offset + 1
        return True


def offset_of(message: Message) -> int:
    """The place of a message in its stream."""
    if message.offset is None:
        raise TypeError("a message without an offset did not come from a stream")
    return message.offset


def _from(stream: str, place: _Place) -> Attach:
    def attach(channel: Channel, receive: Callable[..., None], done: Callable[[Any], None]) -> None:
        channel.basic_consume(stream, receive, arguments={"x-stream-offset": place.start}, callback=done)

    return attach
