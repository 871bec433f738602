"""Publishes what the spool holds and tells the event log that it was accepted.

A request counts as accepted only once the broker has confirmed it: written to a quorum queue. The accepted event comes
after that and is best effort, because a status does not need it. A confirm is a write to the broker's disk, so many
messages are on the way at once. Used by one thread at a time.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Final

from fleet_common.broker import (
    BrokerFailure,
    Names,
    OnTheWay,
    Outgoing,
    Publisher,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
)
from fleet_common.events import Event, Kind
from fleet_common.messages import ImportRequest
from fleet_common.metrics import Metrics
from fleet_common.producermetrics import ProducerMetrics
from fleet_producer.slips import Entry

MOST_ON_THE_WAY: Final = 64
"""Each has a channel of its own, of which a connection may have 2,047 by default."""
_EVENT_SECONDS: Final = 10.0
_RESULTS: Final[Mapping[type[BrokerFailure | None], str]] = {
    type(None): "confirmed",
    PublishUnroutable: "unroutable",
    PublishRefused: "refused",
    PublishTimeout: "timeout",
}


Sent = tuple[Entry, BrokerFailure | None]
"""What was sent, and why the broker does not have it; None where it has."""


def publish_all(
    publisher: Publisher,
    entries: Iterable[Entry],
    *,
    deadline_seconds: float,
    metrics: Metrics | ProducerMetrics,
    most_on_the_way: int = MOST_ON_THE_WAY,
) -> Iterator[Sent]:
    """Publish requests, many at once, and tell of each in order as soon as it is known what came of it.

    After a refusal nothing more of its lane and class is sent, without a connection or a confirm nothing at all; of
    what is not sent nothing is told.

    Args:
        publisher: A started publisher.
        entries: What to publish: each time the very same bytes.
        deadline_seconds: How long to wait for each confirm.
        metrics: Where the results are counted.
        most_on_the_way: Sent and not yet confirmed, at most.
    """
    waiting, on_the_way, refused = iter(entries), deque[tuple[Entry, OnTheWay]](), set[str]()
    while True:
        wanted = (entry for entry in waiting if entry.request.routing_key not in refused)
        for entry in islice(wanted, most_on_the_way - len(on_the_way)):
            message = outgoing(entry, publisher.names)
            on_the_way.append((entry, publisher.begin(message, deadline_seconds=deadline_seconds)))
        if not on_the_way:
            return
        entry, sending = on_the_way.popleft()
        failure = _failure(sending)
        metrics.published.labels(_RESULTS.get(type(failure), "unreachable")).inc()
        if isinstance(failure, PublishRefused | PublishUnroutable):
            refused.add(entry.request.routing_key)
        elif failure is not None:
            waiting = iter(())
        yield entry, failure


class Announcer:
    """Tells that requests were accepted, many events at once.

    Each confirm is waited for, because this process may end a moment later; but a request stands without its event.

    Args:
        publisher: A started publisher.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._on_the_way: deque[OnTheWay] = deque()

    def tell(self, request: ImportRequest, now: datetime) -> None:
        """Tell of one; waits only where too many are on the way."""
        self._on_the_way.append(self._publisher.begin_event(accepted(request, now), deadline_seconds=_EVENT_SECONDS))
        self._finish(keep=MOST_ON_THE_WAY)

    def finish(self) -> None:
        """Wait until the broker has confirmed all of them, or does not within seconds."""
        self._finish(keep=0)

    def _finish(self, *, keep: int) -> None:
        while len(self._on_the_way) > keep:
            _failure(self._on_the_way.popleft())


def accepted(request: ImportRequest, now: datetime) -> Event:
    """The event that says that the broker holds the request."""
    return Event(
        event_id=uuid.uuid4(),
        kind=Kind.ACCEPTED,
        request_id=request.request_id,
        lane=request.lane,
        at=now,
        batch=request.batch,
        source=f"{request.source.share}/{request.source.path}",
    )


def outgoing(entry: Entry, names: Names) -> Outgoing:
    """The message that carries a request."""
    return Outgoing(
        exchange=names.requests,
        routing_key=entry.request.routing_key,
        body=entry.body,
        message_id=str(entry.request_id),
        timestamp=entry.request.submitted_at,
    )


def _failure(sending: OnTheWay) -> BrokerFailure | None:
    try:
        sending.wait()
    except BrokerFailure as error:
        return error
    return None
