"""What the fleet has in the broker, as data: exchanges, queues and bindings with every argument.

Role: the one description that ``declare`` applies and ``verify`` compares. What must never be missing is an argument of
the queue; policies only tune, because one policy applies per queue and a broader one takes ours away whole. Why each
argument is what it is: docs/reference/broker.md. Neighbours: ``declare``, ``verify``. Threading: pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fleet_common.broker.names import Names

LANE_DELIVERY_LIMIT: Final = 100
"""The backstop against a request that kills every worker; workers stop much earlier."""
NO_DELIVERY_LIMIT: Final = 1_000_000
"""RabbitMQ 4 drops a message after 20 deliveries unless told otherwise, and looking at a queue delivers; -1 would mean
"never" there, but 3.10 loses the message at the first return."""
CONSUMER_TIMEOUT_MILLISECONDS: Final = 7 * 24 * 3600 * 1000
"""A delivery is held until the import is done. RabbitMQ 3.10 ignores the argument: it needs rabbitmq.conf."""


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """How much of the streams is kept.

    Attributes:
        event_log_max_age: In RabbitMQ's notation: 90D, 12h.
        event_log_bytes: The event log keeps at most about so much.
        control_log_bytes: The same for the control log, which has no bound of age.
        segment_bytes: Streams shrink by whole segments.
    """

    event_log_max_age: str = "90D"
    event_log_bytes: int = 10_000_000_000
    control_log_bytes: int = 100_000_000
    segment_bytes: int = 20_000_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue or stream."""

    name: str
    arguments: Mapping[str, Any]

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream."""
        return self.arguments.get("x-queue-type") == "stream"


@dataclass(frozen=True, slots=True)
class Binding:
    """What goes from an exchange to a queue."""

    exchange: str
    queue: str
    key: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything, in an order in which it can be declared."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


def describe(names: Names, lanes: Sequence[str], bounds: StreamBounds | None = None) -> Topology:
    """The description for these lanes."""
    kept = bounds or StreamBounds()
    return Topology(
        exchanges=tuple(_exchanges(names)),
        queues=(*_retry_queues(names), _dead(names), *_streams(names, kept), *_lane_queues(names, lanes)),
        bindings=tuple(_bindings(names, lanes)),
    )


def _exchanges(names: Names) -> Iterator[Exchange]:
    yield Exchange(names.dead, "fanout")
    # No alternate exchange: a producer must hear that its lane does not exist.
    yield Exchange(names.requests, "topic")
    # Retries of a deleted lane would otherwise stop the retries of all lanes in their tier.
    yield Exchange(names.due, "topic", {"alternate-exchange": names.dead})
    for tier in names.tiers_seconds:
        yield Exchange(names.retry(tier), "fanout")
    yield Exchange(names.events, "topic")
    yield Exchange(names.control, "fanout")
    yield Exchange(names.wake, "fanout")


def _lane_queues(names: Names, lanes: Sequence[str]) -> Iterator[Queue]:
    arguments = {
        **_quorum(LANE_DELIVERY_LIMIT),
        **_dead_lettering_to(names.dead),
        "x-consumer-timeout": CONSUMER_TIMEOUT_MILLISECONDS,
    }
    for lane in lanes:
        for queue in names.lane_queues(lane):
            yield Queue(queue, arguments)


def _retry_queues(names: Names) -> Iterator[Queue]:
    for tier in names.tiers_seconds:
        arguments = {**_quorum(NO_DELIVERY_LIMIT), **_dead_lettering_to(names.due), "x-message-ttl": tier * 1000}
        yield Queue(names.retry(tier), arguments)


def _dead(names: Names) -> Queue:
    return Queue(names.dead, _quorum(NO_DELIVERY_LIMIT))


def _streams(names: Names, bounds: StreamBounds) -> Iterator[Queue]:
    common = {"x-queue-type": "stream", "x-stream-max-segment-size-bytes": bounds.segment_bytes}
    events = {"x-max-age": bounds.event_log_max_age, "x-max-length-bytes": bounds.event_log_bytes}
    yield Queue(names.event_log, {**common, **events})
    yield Queue(names.control_log, {**common, "x-max-length-bytes": bounds.control_log_bytes})


def _bindings(names: Names, lanes: Sequence[str]) -> Iterator[Binding]:
    yield Binding(names.dead, names.dead, "")
    for tier in names.tiers_seconds:
        yield Binding(names.retry(tier), names.retry(tier), "")
    yield Binding(names.events, names.event_log, "#")
    yield Binding(names.control, names.control_log, "")
    for exchange in (names.requests, names.due):
        for lane in lanes:
            for queue in names.lane_queues(lane):
                yield Binding(exchange, queue, queue.removeprefix(f"{names.prefix}lane."))


def _quorum(delivery_limit: int) -> dict[str, Any]:
    return {"x-queue-type": "quorum", "x-delivery-limit": delivery_limit}


def _dead_lettering_to(exchange: str) -> dict[str, Any]:
    # At-least-once needs reject-publish: a queue that drops its head would lose what it dead-letters.
    return {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
