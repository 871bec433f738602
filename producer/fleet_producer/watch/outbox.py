"""From the spool to the broker, and what a host tells of itself: heartbeats and plates that need a person.

The broker may be away for a weekend: then nothing is asked of it and nothing is lost, because requests stay in the
spool and news is told again until it is confirmed. Neighbours: ``publish`` speaks to the broker, ``watcher`` calls.
Threading: one thread; the publisher brings its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from fleet_common.broker import BrokerFailure, Outgoing, Publisher, PublishRefused, PublishUnroutable
from fleet_common.errors import Reason
from fleet_common.events import Event, Kind
from fleet_common.heartbeats import Heartbeat, encode_heartbeat
from fleet_common.producermetrics import ProducerMetrics
from fleet_producer.publish import Announcer, publish_all
from fleet_producer.slips import Entry, Slip
from fleet_producer.spool import Spool, SpoolError
from fleet_producer.watch.records import Record

_LOG = structlog.get_logger()
_HELD_BACK_SECONDS: Final = 60.0
"""After a refusal nothing more of that lane and class is tried for so long."""
_CONFIRM_SECONDS: Final = 30.0
_NEWS_SECONDS: Final = 10.0


@dataclass
class Outbox:
    """Sends what the spool holds, whenever there is a connection.

    Attributes:
        spool: What to send.
        publisher: A started publisher.
        clock: The present time of this host, in UTC.
        monotonic: A clock in seconds that nobody can set.
        metrics: Where each try is counted.
    """

    spool: Spool
    publisher: Publisher
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    metrics: ProducerMetrics
    _held_back: dict[str, float] = field(default_factory=dict)
    _stuck: frozenset[Slip] = frozenset()

    def drain(self) -> int:
        """Publish what is pending, oldest first, and note each confirm; how many were confirmed.

        Raises:
            SpoolError: The spool cannot be read.
        """
        waiting = frozenset(slip for slip in self.spool.slips() if slip.sent_at is None)
        if not self.publisher.connected or not waiting or self._is_stuck(waiting):
            return 0
        pending, confirmed, announcer = self.spool.pending(), 0, Announcer(self.publisher)
        for entry, failure in publish_all(
            self.publisher,
            filter(self._may_go, pending),
            deadline_seconds=_CONFIRM_SECONDS,
            metrics=self.metrics,
        ):
            if failure is None:
                confirmed += 1
                self._confirmed(entry, announcer, is_first=confirmed == 1)
            else:
                self._failed(entry, failure)
        if confirmed > 1:
            self.publisher.ring()
        announcer.finish()
        self._stuck = frozenset(entry.slip for entry in pending if not self._may_go(entry))
        return confirmed

    def tell_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Say that this host is alive; dropped while there is no connection: the next one says it, too."""
        message = Outgoing(
            self.publisher.names.events,
            heartbeat.routing_key,
            encode_heartbeat(heartbeat),
            message_id=str(uuid.uuid4()),
            mandatory=False,
        )
        self._tell(lambda: self.publisher.publish(message, deadline_seconds=_NEWS_SECONDS))

    def tell(self, kind: Kind, told: uuid.UUID, lane: str, record: Record) -> bool:
        """Say that a plate needs a person, or does so no more; whether it was confirmed."""
        event = Event(
            event_id=uuid.uuid4(),
            kind=kind,
            request_id=told,
            lane=lane,
            at=self.clock(),
            source=record.key,
            reason=Reason.MANIFEST_DIFFERS if kind is Kind.INCOMPLETE else None,
            message=record.why,
            next_action=record.next_action or None,
        )
        return self._tell(lambda: self.publisher.publish_event(event, required=True, deadline_seconds=_NEWS_SECONDS))

    def _tell(self, publish: Callable[[], None]) -> bool:
        if not self.publisher.connected:
            return False
        try:
            publish()
        except BrokerFailure as error:
            _LOG.warning("news could not be told, and will be again", error=str(error))
            return False
        return True

    def _is_stuck(self, waiting: frozenset[Slip]) -> bool:
        """Whether all that waits is held back, and need not be read: a full lane may keep thousands here for days."""
        now = self.monotonic()
        held_back = {key: until for key, until in self._held_back.items() if until > now}
        if held_back != self._held_back:
            self._held_back, self._stuck = held_back, frozenset()
        return waiting <= self._stuck

    def _may_go(self, entry: Entry) -> bool:
        return entry.request.routing_key not in self._held_back

    def _confirmed(self, entry: Entry, announcer: Announcer, *, is_first: bool) -> None:
        if is_first:
            # Idle workers begin while the rest is published.
            self.publisher.ring()
        self._held_back.pop(entry.request.routing_key, None)
        self._note(entry)
        announcer.tell(entry.request, self.clock())

    def _failed(self, entry: Entry, failure: BrokerFailure) -> None:
        if isinstance(failure, PublishRefused | PublishUnroutable):
            _LOG.error("the broker refuses a request, which stays in the spool", error=str(failure))
            self._held_back[entry.request.routing_key] = self.monotonic() + _HELD_BACK_SECONDS
        else:
            _LOG.warning("a request waits in the spool", error=str(failure))

    def _note(self, entry: Entry) -> None:
        try:
            self.spool.mark_sent(entry)
        except SpoolError as error:
            # It is published again, and imported once.
            _LOG.warning("a request was published, but stays pending in the spool", error=str(error))


def oldest_seconds(pending: Sequence[Entry], now: datetime) -> float:
    """How long the oldest request has waited for its confirm; 0 when none waits, or this host's clock was set back."""
    return max((0.0, *(entry.age_seconds(now) for entry in pending)))
