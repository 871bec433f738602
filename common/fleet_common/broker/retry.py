"""Settling a request by publishing a copy: try later, try elsewhere, or give up.

Role: what goes into the copy's headers. The copy is confirmed before the caller acks the original, so a request is
never in no queue at all. Counts and death headers of the broker are taken off: it shows stale ones as real.
Neighbours: ``publisher`` sends, ``deliveries`` is copied. Threading: pure but for the publisher's call.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fleet_common.broker.confirms import Outgoing
from fleet_common.broker.deliveries import Delivery
from fleet_common.broker.names import pick_tier
from fleet_common.broker.publisher import Publisher

ATTEMPT: Final = "attempt"
ALONE: Final = "alone"
"""How many workers died of the request while they had nothing else in work; there from the first suspicion on."""
SUBMITTED_BY: Final = "submitted-by"
FIRST_SEEN: Final = "first-seen"
RETRY_REASON: Final = "retry-reason"
REASON: Final = "reason"
ERROR_CLASS: Final = "error-class"
MESSAGE: Final = "message"
WORKER: Final = "worker"
LOG_TAIL: Final = "log-tail"
DIED_AT: Final = "died-at"
ORIGIN_KEY: Final = "origin-key"

MAX_HEADER_CHARACTERS: Final = 4000
"""Of one text in a dead letter's headers; all headers must fit into one AMQP frame (128 KiB)."""

_DEADLINE_SECONDS: Final = 30.0
_OF_THE_BROKER: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_OF_A_DEATH: Final = frozenset({REASON, ERROR_CLASS, MESSAGE, WORKER, LOG_TAIL, DIED_AT, ORIGIN_KEY})


def attempt_of(delivery: Delivery, fleet_users: Collection[str]) -> int:
    """How many attempts were counted so far; believed only in a copy that the fleet itself published."""
    attempt = delivery.headers.get(ATTEMPT)
    if delivery.user_id in fleet_users and isinstance(attempt, int):
        return max(0, int(attempt))
    return 0


def alone_of(delivery: Delivery, fleet_users: Collection[str]) -> int | None:
    """How many workers died of the request alone; None while nobody suspects it, or where a stranger says so."""
    deaths = delivery.headers.get(ALONE)
    if delivery.user_id in fleet_users and isinstance(deaths, int):
        return max(0, int(deaths))
    return None


def submitted_by(delivery: Delivery, fleet_users: Collection[str]) -> str | None:
    """The broker user who submitted the request; None when nobody can be held to it.

    A copy cannot keep the producer's ``user_id``, because the broker checks it, so the fleet carries it on in a header,
    which is believed only when the copy is the fleet's own.
    """
    if delivery.user_id not in fleet_users:
        return delivery.user_id
    carried = delivery.headers.get(SUBMITTED_BY)
    return carried if isinstance(carried, str) and carried else None


def publish_retry(  # noqa: PLR0913  keyword arguments with names of their own
    publisher: Publisher,
    delivery: Delivery,
    *,
    attempt: int,
    delay_seconds: float,
    reason: str,
    fleet_users: Collection[str] | None = None,
    alone: int | None = None,
    jitter: float = 0.0,
    chance: Callable[[], float] = random.random,
    deadline_seconds: float = _DEADLINE_SECONDS,
) -> int:
    """Publish a copy that comes back into its lane after a while; ack the original afterwards.

    Args:
        publisher: Sends the copy.
        delivery: The original.
        attempt: Attempts counted so far, with the one that just failed if it counts.
        delay_seconds: Rounded up to the next retry tier.
        reason: Why, for people who look into the queue.
        fleet_users: Broker users of workers and operators; the publisher's own user when left out.
        alone: As :data:`ALONE`; None for a request that nobody suspects.
        jitter: The copy comes back earlier by up to this part of the tier's delay, but never before those that were
            published before it: RabbitMQ looks at the head of a queue only. It spreads copies of different times well
            and those of one moment hardly; workers pull, so a crowd of retries waits in its lanes.
        chance: A number from 0 to 1.
        deadline_seconds: For the confirm.

    Returns:
        The tier's delay in seconds.

    Raises:
        BrokerFailure: As :meth:`Publisher.publish`; the original must then not be acked.
    """
    headers = _copied(delivery, _users(publisher, fleet_users)) | {ATTEMPT: attempt, RETRY_REASON: reason}
    headers |= _suspected(alone)
    tier = pick_tier(delay_seconds, publisher.names.tiers_seconds)
    # Never later than the queue's own time to live: the smaller of both holds.
    expiration = int(tier * 1000 * (1 - jitter * chance())) if jitter else None
    _send(publisher, delivery, publisher.names.retry(tier), headers, deadline_seconds, expiration)
    return tier


def hand_back(
    publisher: Publisher,
    delivery: Delivery,
    *,
    fleet_users: Collection[str] | None = None,
    alone: int | None = None,
    deadline_seconds: float = _DEADLINE_SECONDS,
) -> None:
    """Publish a copy straight back into its lane, with the attempts unchanged; ack the original afterwards.

    Raises:
        BrokerFailure: As :meth:`Publisher.publish`; the original must then not be acked.
    """
    users = _users(publisher, fleet_users)
    headers = _copied(delivery, users) | {ATTEMPT: attempt_of(delivery, users)} | _suspected(alone)
    _send(publisher, delivery, publisher.names.requests, headers, deadline_seconds)


def publish_dead(  # noqa: PLR0913  keyword arguments with names of their own
    publisher: Publisher,
    delivery: Delivery,
    *,
    reason: str,
    error_class: str,
    message: str,
    worker: str,
    attempt: int,
    log_tail: str = "",
    fleet_users: Collection[str] | None = None,
    deadline_seconds: float = _DEADLINE_SECONDS,
) -> None:
    """Publish the request, untouched, as a dead letter whose headers say why; ack the original afterwards.

    Raises:
        BrokerFailure: As :meth:`Publisher.publish`; the original must then not be acked.
    """
    why = {
        ATTEMPT: attempt,
        REASON: reason,
        ERROR_CLASS: error_class,
        MESSAGE: message[:MAX_HEADER_CHARACTERS],
        WORKER: worker,
        LOG_TAIL: log_tail[-MAX_HEADER_CHARACTERS:],
        DIED_AT: _now(),
        ORIGIN_KEY: delivery.routing_key,
    }
    headers = _copied(delivery, _users(publisher, fleet_users)) | why
    _send(publisher, delivery, publisher.names.dead, headers, deadline_seconds)


def without_broker_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers without those that the broker keeps for itself."""
    return {name: value for name, value in headers.items() if not name.startswith(_OF_THE_BROKER)}


def _copied(delivery: Delivery, fleet_users: Collection[str]) -> dict[str, Any]:
    # Only the fleet's own headers are carried on: anything else is a publisher's, and may be large.
    known = {ATTEMPT, FIRST_SEEN, RETRY_REASON}
    clean = without_broker_headers(delivery.headers) if delivery.user_id in fleet_users else {}
    kept = {name: value for name, value in clean.items() if name in known}
    submitter = submitted_by(delivery, fleet_users)
    return {FIRST_SEEN: _now(), **kept, **({SUBMITTED_BY: submitter} if submitter else {})}


def _suspected(alone: int | None) -> dict[str, int]:
    return {} if alone is None else {ALONE: alone}


def _users(publisher: Publisher, fleet_users: Collection[str] | None) -> Collection[str]:
    return {publisher.link.address.user} if fleet_users is None else fleet_users


def _send(  # noqa: PLR0913, PLR0917  all but the last are of every message
    publisher: Publisher,
    delivery: Delivery,
    exchange: str,
    headers: Mapping[str, Any],
    deadline_seconds: float,
    expiration_milliseconds: int | None = None,
) -> None:
    message = Outgoing(
        exchange,
        delivery.routing_key,
        delivery.body,
        headers,
        delivery.message_id,
        expiration_milliseconds=expiration_milliseconds,
    )
    publisher.publish(message, deadline_seconds=deadline_seconds)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
