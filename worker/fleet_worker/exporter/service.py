"""The life of the exporter: start every eye, serve, and stop them when told.

Threads and their owners: each poller, the log watch, the two broker links, the OMERO gateway and the health server own
theirs; the main thread waits for the signal. Nothing here changes anything in OMERO, and nothing in the broker but one
event for each letter that the broker itself made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from fleet_common.broker import DeadQueue, Link, Publisher, StreamReader
from fleet_common.broker.management import Management
from fleet_common.broker.overview import Overview, look
from fleet_common.connect import broker_address, broker_names
from fleet_common.errors import UsageError
from fleet_common.events import Event
from fleet_common.fleetmetrics import FleetCollector
from fleet_common.health import Health
from fleet_common.instruments import Instruments
from fleet_common.logwatch import LogWatch
from fleet_common.settings import Settings
from fleet_common.signals import wait_for_signal
from fleet_worker.connect import omero_address
from fleet_worker.exporter.board import Board
from fleet_worker.exporter.brokereye import BrokerEye
from fleet_worker.exporter.deadeye import DeadEye
from fleet_worker.exporter.logeye import SHOW_SECONDS, LogEye
from fleet_worker.exporter.omeroeye import OmeroEye
from fleet_worker.exporter.poller import Poller
from fleet_worker.exporter.views import of_settings
from fleet_worker.omero.gateway import Gateway

_LOG = structlog.get_logger()
_STOP_SECONDS: Final = 5.0
_TELL_SECONDS: Final = 30.0
FRESH_LOOKS: Final = 4
"""What was seen so many looks ago is not shown any more."""


class Exporter:
    """One exporter process.

    Args:
        settings: Of the whole fleet; ``broker.management_url`` must be there.
        omero: Whether to look into OMERO, too.

    Raises:
        UsageError: A password or the address of the management API is missing.
    """

    def __init__(self, settings: Settings, *, omero: bool = True) -> None:
        self._settings = settings
        self._interval_seconds = settings.exporter.interval_seconds
        self._board = Board(
            time.monotonic, FRESH_LOOKS * max(self._interval_seconds, SHOW_SECONDS), of_settings(settings.omero)
        )
        self._address, self._names = broker_address(settings.broker), broker_names(settings.broker)
        self._link = Link(self._address, role="look")
        self._publisher = Publisher(self._address, self._names)
        self._broker = BrokerEye(self._ask_broker(), settings.worker.lanes)
        self._log_eye = LogEye(
            self._board, self._broker.lanes, lambda: self._log.problem, clock=_now, monotonic=time.monotonic
        )
        self._log = LogWatch(
            lambda: StreamReader(self._address, self._names.event_log),
            _now() - timedelta(seconds=settings.exporter.history_seconds),
            self._log_eye.hear,
            tick=self._log_eye.tick,
        )
        self._gateway = Gateway(omero_address(settings.omero), clock=time.monotonic) if omero else None
        self._pollers = self._make_pollers()
        self._instruments = Instruments()
        self._instruments.registry.register(FleetCollector(self._board.view))

    def run(self, stop: threading.Event) -> None:
        """Look and serve until ``stop`` is set."""
        with ExitStack() as stack:
            self._start(stack)
            wait_for_signal(stop)
            _LOG.info("exporter stops")

    def _start(self, stack: ExitStack) -> None:
        health = Health(
            self._settings.metrics, self._instruments.registry, live=self._liveness(), ready=self._readiness()
        )
        health.start()
        stack.callback(health.stop)
        self._link.start()
        stack.callback(self._link.stop, _STOP_SECONDS)
        self._publisher.start()
        stack.callback(self._publisher.stop, _STOP_SECONDS)
        if self._gateway is not None:
            stack.callback(self._gateway.close)
        self._log.start()
        stack.callback(self._log.stop)
        for poller in self._pollers.values():
            poller.start()
            stack.callback(poller.stop)
        _LOG.info("exporter started", port=health.port, sources=sorted(self._pollers))

    def _ask_broker(self) -> Callable[[], Overview]:
        broker = self._settings.broker
        if broker.management_url is None:
            raise UsageError("no address of RabbitMQ's management API: set broker.management_url")
        api = Management(broker.management_url, broker.user, broker.read_password(), broker.ca_file)
        return partial(look, api, broker.vhost, self._names, self._settings.omero.name)

    def _make_pollers(self) -> Mapping[str, Poller]:
        dead = DeadEye(
            lambda: DeadQueue(self._link, self._names),
            self._broker.dead,
            self._tell,
            fleet_users=self._settings.worker.fleet_users,
            clock=_now,
            monotonic=time.monotonic,
        )
        looks = {"rabbitmq": self._broker.look, "dead-letters": dead.look}
        if self._gateway is not None:
            looks["omero"] = OmeroEye(self._gateway).look
        return {
            source: Poller(source, one, self._board, interval_seconds=self._interval_seconds)
            for source, one in looks.items()
        }

    def _tell(self, event: Event) -> None:
        self._publisher.publish_event(event, required=True, deadline_seconds=_TELL_SECONDS)

    def _liveness(self) -> Mapping[str, Callable[[], str | None]]:
        """Only whether the threads go round: an outage of a server is what the exporter is there to show."""
        pollers = {source: partial(_ended, poller) for source, poller in self._pollers.items()}
        return {"event-log": lambda: self._log.stuck, **pollers}

    def _readiness(self) -> Mapping[str, Callable[[], str | None]]:
        pollers = {source: partial(_problem, poller) for source, poller in self._pollers.items()}
        return {"event-log": lambda: self._log.problem, **pollers}


def _ended(poller: Poller) -> str | None:
    return poller.ended


def _problem(poller: Poller) -> str | None:
    return poller.problem


def _now() -> datetime:
    return datetime.now(UTC)
