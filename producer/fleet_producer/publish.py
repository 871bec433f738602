"""Publishes what the spool holds and tells the event log that it was accepted.

A request counts as accepted only once the broker has confirmed it: written to a quorum queue. The accepted event comes
after that and is best effort, because a status does not need it. Used by the command's own thread.
"""

from __future__ import annotations

import contextlib
import uuid
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
from fleet_common.messages import ImportRequest
from fleet_common.metrics import Metrics
from fleet_common.producermetrics import ProducerMetrics
from fleet_producer.slips import Entry

_EVENT_SECONDS: Final = 10.0


def publish_one(
    publisher: Publisher,
    entry: Entry,
    *,
    deadline_seconds: float,
    metrics: Metrics | ProducerMetrics,
) -> None:
    """Publish one request and return when it is confirmed.

    Args:
        publisher: A started publisher.
        entry: What to publish: each time the very same bytes.
        deadline_seconds: How long to wait for the confirm.
        metrics: Where the result is counted.

    Raises:
        PublishTimeout: No confirm in time; whether the request was written is unknown, publishing again is safe.
        PublishRefused: The broker does not want it: no room, no right.
        PublishUnroutable: No queue exists for the lane.
        BrokerUnavailable: There was no connection.
    """
    try:
        publisher.publish(outgoing(entry, publisher.names), deadline_seconds=deadline_seconds)
    except FleetError as error:
        metrics.published.labels(_result(error)).inc()
        raise
    metrics.published.labels("confirmed").inc()


def tell_accepted(publisher: Publisher, request: ImportRequest, now: datetime) -> None:
    """Wait for the confirm, because this process may end a moment later; but the request stands without its event."""
    with contextlib.suppress(BrokerFailure):
        publisher.publish_event(accepted(request, now), required=True, deadline_seconds=_EVENT_SECONDS)


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


def _result(error: FleetError) -> str:
    if isinstance(error, PublishUnroutable):
        return "unroutable"
    if isinstance(error, PublishRefused):
        return "refused"
    return "timeout" if isinstance(error, PublishTimeout) else "unreachable"
