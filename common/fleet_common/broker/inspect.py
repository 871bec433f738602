"""Looking at queues without touching them: depths for metrics and readiness.

Role: one question to the broker per queue. Neighbours: metrics, health and the topology commands. Threading: callers
wait; the asking happens on the link's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleet_common.broker.channels import on_throwaway
from fleet_common.broker.failures import BrokerRefused
from fleet_common.broker.link import Link

_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is.

    Attributes:
        ready: Messages that nobody holds.
        consumers: Consumers; the fleet's workers pull and are none.
    """

    ready: int
    consumers: int


def queue_depth(link: Link, queue: str, *, deadline_seconds: float = 5.0) -> Depth | None:
    """The depth of a queue; None when there is no such queue.

    Raises:
        BrokerFailure: The broker is not there, did not answer, or does not let this user look (403 on RabbitMQ 4.3).
    """
    operation = on_throwaway(lambda channel, then: channel.queue_declare(queue, passive=True, callback=then))
    try:
        answer = link.call(operation, deadline_seconds)
    except BrokerRefused as error:
        if error.code == _NOT_FOUND:
            return None
        raise
    return Depth(int(answer.method.message_count), int(answer.method.consumer_count))


def exchange_exists(link: Link, exchange: str, *, deadline_seconds: float = 5.0) -> bool:
    """Whether an exchange is there.

    Raises:
        BrokerFailure: The broker is not there, did not answer, or does not let this user look.
    """
    operation = on_throwaway(lambda channel, then: channel.exchange_declare(exchange, passive=True, callback=then))
    try:
        link.call(operation, deadline_seconds)
    except BrokerRefused as error:
        if error.code == _NOT_FOUND:
            return False
        raise
    return True
