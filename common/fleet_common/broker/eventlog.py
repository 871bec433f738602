"""Reading the event log.

Role: turns messages of the log into events, for status and follow. Neighbours: ``streams`` reads; ``events`` in
fleet_common knows what they mean. Threading: as a :class:`StreamReader`: a link of its own, one thread reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.linkstate import Backoff
from fleet_common.broker.names import Names
from fleet_common.broker.streams import FOREVER, Start, StreamReader, never
from fleet_common.broker.subscription import Message
from fleet_common.errors import Permanent, Reason
from fleet_common.events import Event, decode_event
from fleet_common.heartbeats import is_heartbeat

_LOG = structlog.get_logger()


class EventReader(StreamReader):
    """Reads the event log. Heartbeats are passed over; what is no event, or has the key of another, is counted, too.

    Attributes:
        skipped: How many messages were no events.
    """

    def __init__(self, address: BrokerAddress, names: Names | None = None, *, backoff: Backoff | None = None) -> None:
        super().__init__(address, (names or Names()).event_log, backoff=backoff)
        self.skipped = 0

    def read_all(self, start: Start = "first") -> Iterator[Event]:
        """Every event up to what is the end at the time of the call.

        Raises:
            BrokerFailure: As :meth:`StreamReader.messages_to_end`.
        """
        return self._events(self.messages_to_end(start))

    def follow(
        self, start: Start, *, stop: Callable[[], bool] = never, deadline_seconds: float = FOREVER
    ) -> Iterator[Event]:
        """Events as they are told, until ``stop`` says so or the deadline; losses of the connection leave no gap."""
        return self._events(self.follow_messages(start, stop=stop, deadline_seconds=deadline_seconds))

    def _events(self, messages: Iterator[Message]) -> Iterator[Event]:
        for message in messages:
            if is_heartbeat(message.routing_key):
                continue
            try:
                event = event_from(message)
            except Permanent as error:
                self.skipped += 1
                _LOG.warning("skipped a message of the event log", offset=message.offset, error=str(error))
                continue
            yield event


def event_from(message: Message) -> Event:
    """The event in a message.

    Raises:
        Permanent: It is none, or its key is another's. Topic permissions look at the key only, so a producer could
            otherwise tell events of other lanes, or say that something was imported.
    """
    event = decode_event(message.body)
    if event.routing_key != message.routing_key:
        raise Permanent(
            Reason.INVALID_REQUEST, f"not an event: it says {event.routing_key}, but its key was {message.routing_key}"
        )
    return event
