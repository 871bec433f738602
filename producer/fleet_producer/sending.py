"""Sends what the spool holds, and forgets what has come to its end.

Role: what ``submit`` and ``spool resend`` have in common: connect, publish with confirms, note each confirm in the
spool, and follow the outcomes. Neighbours: ``spool`` keeps, ``publish`` speaks to the broker, ``waiting`` folds events.
Threading: the command's own thread; the connections bring threads of their own.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

import click
import structlog
from rich.console import Console

from fleet_common.broker import (
    BrokerFailure,
    LiveFollower,
    Publisher,
    PublishRefused,
    PublishTimeout,
    PublishUnroutable,
)
from fleet_common.connect import broker_address
from fleet_common.exits import Exit
from fleet_common.health import Health
from fleet_common.metrics import Metrics
from fleet_common.settings import Settings
from fleet_producer.publish import Announcer, publish_all
from fleet_producer.slips import Entry
from fleet_producer.spool import Spool, SpoolError
from fleet_producer.waiting import Attention, Display, Outcomes, collect

_STOP_SECONDS: Final = 5.0
_ALL_LANES: Final = ""
_LOG = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class How:
    """How to send, apart from what.

    Attributes:
        deadline_seconds: To reach the broker, and for each confirm.
        wait: Whether to follow the outcomes.
        timeout_seconds: How long to follow them, counted from the start.
    """

    deadline_seconds: float
    wait: bool
    timeout_seconds: float


class Sender:
    """Connections to the broker for one command, and what came of it; a context manager.

    Args:
        settings: For broker and metrics.
        spool: Where the requests are kept.
        how: How to send.

    Attributes:
        published: What the broker has confirmed, in order.
        outcomes: What is known of what was published.

    Raises:
        UsageError: The broker's password is missing.
    """

    def __init__(self, settings: Settings, spool: Spool, how: How) -> None:
        self._address = broker_address(settings.broker)
        self._settings, self._spool, self._how = settings, spool, how
        self._metrics = Metrics()
        self._stack = ExitStack()
        self._deadline = time.monotonic() + how.timeout_seconds
        self._follower: LiveFollower | None = None
        self._failures: dict[str, BrokerFailure] = {}
        self.published: list[Entry] = []
        self.outcomes = Outcomes(frozenset())

    def __enter__(self) -> Self:
        if self._settings.metrics.port:
            health = Health(self._settings.metrics, self._metrics.registry, live={}, ready={})
            health.start()
            self._stack.callback(health.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def failures(self) -> list[BrokerFailure]:
        """Why the others were not published: at most one for each lane and class."""
        return list(self._failures.values())

    def publish(self, entries: Sequence[Entry]) -> None:
        """Publish all, each with its confirm, and note each confirm in the spool.

        What cannot be published stays there as it was, and is told in :attr:`failures`: after a refusal that is the
        rest of its lane and class, without a connection or a confirm all the rest.
        """
        try:
            if self._how.wait:
                # Before anything is published, or an outcome could come while nobody listens.
                self._follower = self._stack.enter_context(self._attached(entries))
            self._publish_each(self._started(), entries)
        except BrokerFailure as error:
            self._failures.setdefault(_ALL_LANES, error)
        self.outcomes = Outcomes(frozenset(entry.request_id for entry in self.published))

    def wait(self) -> None:
        """With ``wait``, follow what was published to its outcome, and remove from the spool what has one."""
        if self._follower is None or not self.published:
            return
        attention = Attention(self.outcomes, lambda: self._gaps, _warn_of_gap)
        events = self._follower.events(
            stop=attention.stop, deadline_seconds=max(0.0, self._deadline - time.monotonic())
        )
        with Display([entry.request for entry in self.published], Console(stderr=True)) as display:
            for status in collect(events, self.outcomes):
                attention.heard(status.request_id)
                display.show(status)
                if status.is_final:
                    self._forget(status.request_id)

    def exit_code(self) -> Exit:
        """What the command ends with."""
        if any(isinstance(error, PublishTimeout) for error in self.failures):
            return Exit.NOT_CONFIRMED
        if self.failures:
            return Exit.NOT_PUBLISHED
        return self.outcomes.exit_code() if self._how.wait else Exit.OK

    @property
    def _gaps(self) -> int:
        return self._follower.gaps if self._follower is not None else 0

    def _attached(self, entries: Sequence[Entry]) -> LiveFollower:
        # Who asks for an answer within a few seconds means the whole command, not only its last step.
        lanes = sorted({entry.request.lane for entry in entries})
        return LiveFollower(self._address, lanes, attach_seconds=self._how.deadline_seconds)

    def _started(self) -> Publisher:
        publisher = Publisher(self._address)
        self._stack.callback(publisher.stop, _STOP_SECONDS)
        publisher.start()
        return publisher

    def _publish_each(self, publisher: Publisher, entries: Sequence[Entry]) -> None:
        announcer, deadline_seconds = Announcer(publisher), self._how.deadline_seconds
        try:
            for entry, failure in publish_all(
                publisher, entries, deadline_seconds=deadline_seconds, metrics=self._metrics
            ):
                if failure is None:
                    self._confirmed(publisher, entry)
                    announcer.tell(entry.request, datetime.now(UTC))
                else:
                    self._failed(entry, failure)
        finally:
            if len(self.published) > 1:
                publisher.ring()
            announcer.finish()

    def _confirmed(self, publisher: Publisher, entry: Entry) -> None:
        if not self.published:
            # Idle workers begin while the rest is published.
            publisher.ring()
        self.published.append(entry)
        self._note(entry)

    def _failed(self, entry: Entry, failure: BrokerFailure) -> None:
        of_one_lane = isinstance(failure, PublishRefused | PublishUnroutable)
        self._failures.setdefault(entry.request.routing_key if of_one_lane else _ALL_LANES, failure)

    def _note(self, entry: Entry) -> None:
        try:
            self.published[-1] = self._spool.mark_sent(entry)
        except SpoolError as error:
            # The broker has it. It stays pending, so that a resend may publish it twice: that is one fileset, too.
            _LOG.warning("a request was published, but stays pending in the spool", error=str(error))

    def _forget(self, request_id: uuid.UUID) -> None:
        for entry in self.published:
            if entry.request_id == request_id:
                try:
                    self._spool.remove(entry)
                except SpoolError as error:
                    _LOG.warning("a request has its outcome, but stays in the spool", error=str(error))


def _warn_of_gap() -> None:
    click.echo(
        "omero-fleet: the connection to RabbitMQ was lost for a while, and with it what was told meanwhile. Where a "
        "request is, an operator sees with: omero-fleet status REQUEST; the same command, repeated, answers "
        "already-imported for what was imported.",
        err=True,
    )
