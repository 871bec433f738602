"""Settles a delivery: first what must last is confirmed by the broker, then the delivery is acked.

::

    imported          event confirmed ─ ack
    expanded          its requests confirmed ─ event confirmed ─ ack
    retry             copy in the retry tier confirmed ─ event ─ ack
    hand back         the same, or copy in the lane confirmed ─ event ─ ack
    cancel            event confirmed ─ ack
    bury              dead letter confirmed ─ event confirmed ─ ack
    abandon           nothing: the request is somebody else's now

A crash between two of these steps leaves a duplicate at worst, which reconcile finds; never a loss. While the broker
takes nothing, a memory alarm for example, each step is tried again for as long as the delivery is ours: a delivery
that is neither settled nor given up would wait unseen until this worker ends.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import structlog

from fleet_common.broker import (
    FIRST_SEEN,
    BrokerFailure,
    Delivery,
    attempt_of,
    hand_back,
    publish_dead,
    publish_retry,
)
from fleet_common.errors import RULES, RequestError
from fleet_common.events import Event, Kind, next_seq
from fleet_common.logs import redact
from fleet_worker.decisions import Action, Decision, decide
from fleet_worker.parts import Parts
from fleet_worker.reporting import Reporter

_LOG = structlog.get_logger()
_EVENT_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 5.0
_KINDS: Final = {
    Action.RETRY: Kind.RETRIED,
    Action.HAND_BACK: Kind.HANDED_BACK,
    Action.BURY: Kind.DEAD,
    Action.CANCEL: Kind.CANCELLED,
}
_CONFIRMED: Final = frozenset({Kind.DEAD, Kind.CANCELLED})
"""Without a copy the event is all that is left of the request."""
MakeEvent = Callable[..., Event]
T = TypeVar("T")


class Succeeded(Protocol):
    """How a request ended well: the kind of its event, and what that says."""

    @property
    def kind(self) -> Kind:
        """One that nothing can undo."""

    @property
    def facts(self) -> Mapping[str, object]:
        """Fields of the event."""


def settle_success(parts: Parts, delivery: Delivery, reporter: Reporter, outcome: Succeeded) -> None:
    """Tell that a request is imported or expanded, and ack it.

    Raises:
        BrokerFailure: The event could not be confirmed; the delivery comes again and is found to be imported.
    """
    event = reporter.event(outcome.kind, **outcome.facts)
    insist(parts, delivery, lambda: _tell_for_certain(parts, event))
    delivery.ack()
    parts.metrics.settled(delivery.lane, outcome.kind)


def settle_failure(  # noqa: PLR0913  each is a different thing
    parts: Parts,
    delivery: Delivery,
    error: RequestError,
    make_event: MakeEvent | None,
    attempt: int,
    *,
    alone: int | None = None,
) -> Decision:
    """Do with a request that was not imported what the table says; the decision is returned.

    Args:
        parts: Of the worker.
        delivery: What was taken.
        error: Why it was not imported.
        make_event: Makes events of this attempt; None when nobody knows which request it is.
        attempt: The number of this attempt.
        alone: How many workers died of it alone; None for a request that nobody suspects.

    Raises:
        BrokerFailure: The copy could not be confirmed; the delivery is not acked and comes again.
    """
    decision = decide(error, attempt, age_seconds(delivery, parts.settings.worker.fleet_users, parts.clock()))
    _LOG.info("not imported", action=decision.action, reason=decision.reason, error=str(error), attempt=attempt)
    if decision.action is Action.ABANDON:
        parts.metrics.leases_lost.inc()
        return decision
    kind = _KINDS[decision.action]
    facts = _facts(error, decision)
    if kind is Kind.DEAD:
        insist(parts, delivery, lambda: _bury(parts, delivery, error, decision))
    elif kind is not Kind.CANCELLED:
        facts["delay_seconds"] = float(insist(parts, delivery, lambda: _copy(parts, delivery, decision, alone)))
    if make_event is not None:
        _tell(parts, delivery, make_event(kind, **facts))
    delivery.ack()
    parts.metrics.settled(delivery.lane, kind, decision.reason)
    return decision


def insist(parts: Parts, delivery: Delivery, publish: Callable[[], T]) -> T:
    """Publish, again and again while the broker takes nothing and the delivery is still ours.

    Raises:
        BrokerFailure: The delivery was lost meanwhile, or this worker is at its end; the request comes again.
    """
    while True:
        try:
            return publish()
        except BrokerFailure as error:
            if delivery.lost or parts.publisher.link.stopped:
                raise
            _LOG.warning("a request cannot be settled yet", reason=error.reason, error=str(error))
        parts.pause(_AGAIN_SECONDS)


def _tell(parts: Parts, delivery: Delivery, event: Event) -> None:
    if event.kind in _CONFIRMED:
        insist(parts, delivery, lambda: _tell_for_certain(parts, event))
    else:
        parts.publisher.publish_event(event, required=False)


def _tell_for_certain(parts: Parts, event: Event) -> None:
    parts.publisher.publish_event(event, required=True, deadline_seconds=_EVENT_SECONDS)


def request_id_of(delivery: Delivery) -> uuid.UUID | None:
    """The id that the publisher put beside a body that cannot be read; None when it is no id."""
    try:
        return uuid.UUID(delivery.message_id or "")
    except ValueError:
        return None


def unreadable_event(delivery: Delivery, request_id: uuid.UUID, worker: str, now: datetime) -> MakeEvent:
    """Makes events about a request whose body cannot be read."""

    def make(kind: Kind, **facts: Any) -> Event:
        return Event(
            event_id=uuid.uuid4(),
            kind=kind,
            request_id=request_id,
            lane=delivery.lane,
            at=now,
            attempt=1,
            seq=next_seq(0, now),
            worker=worker,
            **facts,
        )

    return make


def age_seconds(delivery: Delivery, fleet_users: tuple[str, ...], now: datetime) -> float:
    """How long ago the fleet saw the request first; 0 for one that it sees now."""
    seen = delivery.headers.get(FIRST_SEEN)
    if delivery.user_id not in fleet_users or not isinstance(seen, str):
        return 0.0
    try:
        moment = datetime.fromisoformat(seen)
    except ValueError:
        return 0.0
    return max(0.0, (now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))).total_seconds())


def attempt_number(delivery: Delivery, fleet_users: tuple[str, ...]) -> int:
    """The number of the attempt that begins now."""
    return attempt_of(delivery, fleet_users) + 1


def _facts(error: RequestError, decision: Decision) -> dict[str, Any]:
    used_up = decision.reason is not error.reason
    text = f"{error.reason}: {error}" if used_up else str(error)
    return {
        "reason": decision.reason,
        "message": redact(text)[:2000],
        "next_action": RULES[error.reason].next_action,
    }


def _copy(parts: Parts, delivery: Delivery, decision: Decision, alone: int | None) -> int:
    """Publish a copy; after how many seconds it comes back."""
    users = parts.settings.worker.fleet_users
    if not decision.delay_seconds:
        hand_back(parts.publisher, delivery, fleet_users=users, alone=alone)
        return 0
    return publish_retry(
        parts.publisher,
        delivery,
        attempt=decision.attempt,
        delay_seconds=decision.delay_seconds,
        reason=decision.reason,
        fleet_users=users,
        alone=alone,
        jitter=parts.settings.worker.retry_jitter,
    )


def _bury(parts: Parts, delivery: Delivery, error: RequestError, decision: Decision) -> None:
    publish_dead(
        parts.publisher,
        delivery,
        reason=decision.reason,
        error_class=error.reason,
        message=redact(str(error)),
        worker=parts.settings.worker.name,
        attempt=decision.attempt,
        log_tail=redact(error.log_tail),
        fleet_users=parts.settings.worker.fleet_users,
    )
