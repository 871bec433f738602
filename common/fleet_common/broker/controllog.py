"""The control log: operators append orders to it, workers and operators read it.

Role: turns messages of the log into orders, and orders into messages. Neighbours: ``streams`` reads, ``publisher``
publishes; ``control`` in fleet_common knows what orders mean. Threading: an :class:`OrderReader` as a
:class:`StreamReader`: a link of its own, one thread reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog

from fleet_common.broker.address import BrokerAddress
from fleet_common.broker.confirms import Outgoing
from fleet_common.broker.linkstate import Backoff
from fleet_common.broker.names import Names
from fleet_common.broker.publisher import Publisher
from fleet_common.broker.streams import FOREVER, Start, StreamReader, never
from fleet_common.broker.subscription import Message
from fleet_common.control import Order, decode_order, encode_order
from fleet_common.errors import Permanent

_LOG = structlog.get_logger()


def publish_order(publisher: Publisher, order: Order, *, deadline_seconds: float = 30.0) -> None:
    """Give an order; it holds once this returns.

    Raises:
        PublishRefused: With the code 403: this user is no operator.
        BrokerFailure: As :meth:`Publisher.publish`; the same order may safely be published again.
    """
    message = Outgoing(publisher.names.control, "", encode_order(order), message_id=str(order.order_id))
    publisher.publish(message, deadline_seconds=deadline_seconds)


class OrderReader(StreamReader):
    """Reads the control log. What is no order is counted, logged and skipped.

    Attributes:
        skipped: How many messages were no orders.
    """

    def __init__(self, address: BrokerAddress, names: Names | None = None, *, backoff: Backoff | None = None) -> None:
        super().__init__(address, (names or Names()).control_log, backoff=backoff)
        self.skipped = 0

    def read_all(self) -> Iterator[Order]:
        """Every order up to what is the end at the time of the call.

        Raises:
            BrokerFailure: As :meth:`StreamReader.messages_to_end`.
        """
        return self._orders(self.messages_to_end("first"))

    def follow(self, *, stop: Callable[[], bool] = never, deadline_seconds: float = FOREVER) -> Iterator[Order]:
        """Orders as they are given, from where this reader has got to; losses of the connection leave no gap."""
        start: Start = "first" if self.next_offset is None else self.next_offset
        return self._orders(self.follow_messages(start, stop=stop, deadline_seconds=deadline_seconds))

    def _orders(self, messages: Iterator[Message]) -> Iterator[Order]:
        for message in messages:
            try:
                order = decode_order(message.body)
            except Permanent as error:
                self.skipped += 1
                _LOG.warning("skipped a message of the control log", offset=message.offset, error=str(error))
                continue
            yield order
