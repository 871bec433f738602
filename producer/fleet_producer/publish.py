"""Publishes prepared requests and tells the event log that they were accepted.

A request counts as accepted only once the broker has confirmed it: written to a quorum queue. The accepted event comes
after that and is best effort, because a status does not need it. Used by the command's own thread.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from fleet_common.broker import (
    BrokerFailure,
    Names,
    Outgoing,
    Publisher,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
)
from fleet_common.errors import FleetError
from fleet_common.events import Event, Kind
from fleet_common.messages import ImportRequest, encode
from fleet_common.metrics import Metrics
from fleet_producer.prepare import Prepared

_EVENT_SECONDS: Final = 10.0


def publish_all(
    publisher: Publisher,
    prepared: Iterable[Prepared],
    *,
    deadline_seconds: float,
    metrics: Metrics,
    clock: Callable[[], datetime],
) -> Iterator[Prepared]:
    """Publish one after the other, each with its confirm, and give back each that is confirmed.

    Args:
        publisher: A started publisher.
        prepared: What to publish, in this order.
        deadline_seconds: How long to wait for each confirm.
        metrics: Where results are counted.
        clock: The present time, in UTC.

    Raises:
        PublishTimeout: No confirm in time; whether the request was written is unknown, publishing again is safe.
        PublishRefused: The broker does not want it: no room, no right.
        PublishUnroutable: No queue exists for the lane.
    """
    for one in prepared:
        _publish(publisher, one.request, deadline_seconds, metrics)
        _tell(publisher, accepted(one.request, clock()))
        yield one


def _tell(publisher: Publisher, event: Event) -> None:
    """Wait for the confirm, because this process may end a moment later; but the request stands without its event."""
    with contextlib.suppress(BrokerFailure):
        publisher.publish_event(event, required=True, deadline_seconds=_EVENT_SECONDS)


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


def outgoing(request: ImportRequest, names: Names) -> Outgoing:
    """The message that carries a request."""
    return Outgoing(
        exchange=names.requests,
        routing_key=request.routing_key,
        body=encode(request),
        message_id=str(request.request_id),
        timestamp=request.submitted_at,
    )


def _publish(publisher: Publisher, request: ImportRequest, deadline_seconds: float, metrics: Metrics) -> None:
    try:
        publisher.publish(outgoing(request, publisher.names), deadline_seconds=deadline_seconds)
    except FleetError as error:
        metrics.published.labels(_result(error)).inc()
        raise
    metrics.published.labels("confirmed").inc()


def _result(error: FleetError) -> str:
    if isinstance(error, PublishUnroutable):
        return "unroutable"
    if isinstance(error, PublishRefused):
        return "refused"
    return "timeout" if isinstance(error, PublishTimeout) else "unreachable"
