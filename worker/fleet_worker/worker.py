"""The life of a worker: start, take as long as there is room, drain.

Threads and their owners: the taker owns its own and those that handle requests; upload pool and its slots, gate,
control watch, sweeper, pod cost, the two broker links, OMERO gateway and health server own theirs. The main thread
waits for a signal and drains. Order of the drain: not ready ─ stop taking ─ finish what is in work, with heartbeats,
locks and slots still held ─ hand back the rest ─ close uploads, sweeper, gate, control, OMERO ─ flush events ─ close
the consuming link, which frees locks and slots, and health.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from fleet_common.broker import LaneSource, Link, LinkState, Locks, OrderReader, Publisher
from fleet_common.connect import broker_address, broker_names
from fleet_common.errors import Reason, UsageError, failure
from fleet_common.health import Health
from fleet_common.messages import ImportRequest
from fleet_common.metrics import Metrics
from fleet_common.settings import Settings
from fleet_common.signals import LOOK_SECONDS, wait_for_signal
from fleet_common.storage import Share, Shares
from fleet_worker.connect import omero_address
from fleet_worker.control import ControlWatch
from fleet_worker.gate import Gate
from fleet_worker.handling import Handler
from fleet_worker.limits import slot_problems
from fleet_worker.linking import links_of
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.lending import Lender
from fleet_worker.parts import Parts
from fleet_worker.podcost import Pod, PodCost
from fleet_worker.scanning import scanner_of
from fleet_worker.slots import slot_count
from fleet_worker.sweeper import Sweeper
from fleet_worker.taker import Taker
from fleet_worker.uploads import UploadPool
from fleet_worker.uploadslots import UploadSlots

_LOG = structlog.get_logger()
_CLOSE_SECONDS: Final = 10.0


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics(lanes=settings.worker.lanes)
        self._hurry = threading.Event()
        self._draining = False
        self._dropped = 0
        address, names = broker_address(settings.broker), broker_names(settings.broker)
        self._consuming = Link(address, role="consume", on_state=self._link_state("consume"))
        self._publisher = Publisher(address, names, on_state=self._link_state("publish"))
        self._control = ControlWatch(lambda: OrderReader(address, names), on_change=self._ordered)
        locks = Locks(self._consuming, names=names)
        self._source = LaneSource(
            self._consuming,
            names,
            tuple(settings.worker.lanes),
            is_open=lambda lane: not self._control.is_paused(lane),
            on_freed=locks.freed,
        )
        upload_names = names.slots(settings.omero.name, "upload", slot_count(settings.omero, "upload"))
        self._gateway = Gateway(
            omero_address(settings.omero),
            clock=time.monotonic,
            min_free_bytes=settings.omero.min_free_bytes,
            on_keep_alive_failure=self._metrics.keep_alive_failures.inc,
        )
        self._sessions = Lender(self._gateway.sudo, most=settings.worker.parallel_filesets)
        self._gate = Gate(self._check_omero, mended=self._new_password)
        slots = UploadSlots(locks, upload_names, self._metrics)
        self._links = links_of(settings, slots)
        self._parts = Parts(
            settings=settings,
            shares=Shares(Share(name, root) for name, root in settings.shares.items()),
            names=names,
            gateway=self._gateway,
            sessions=self._sessions,
            locks=locks,
            publisher=self._publisher,
            uploads=UploadPool(settings.worker.parallel_upload, slots),
            links=self._links,
            metrics=self._metrics,
            scanner=scanner_of(settings.scan),
            cancelled=self._cancelled,
        )
        handler = Handler(self._parts, self._gate.close, self._hurry)
        self._sweeper = Sweeper(
            self._parts,
            names.lock(f"sweep.{settings.omero.name}"),
            interval_seconds=settings.worker.sweep_seconds,
            ready=lambda: self._gate.problem is None,
        )
        self._taker = Taker(
            self._source,
            handler.handle,
            self._ready_to_take,
            places=settings.worker.parallel_filesets,
            fleet_users=settings.worker.fleet_users,
        )
        self._metrics.places.set(settings.worker.parallel_filesets)
        self._metrics.breaker_open.set_function(lambda: float(self._gate.broken))
        # Asked of the gate, which an attempt may close long before the next check: readiness and metric say the same.
        self._metrics.omero_connected.set_function(lambda: float(self._gate.problem is None))
        self._metrics.omero_sessions.set_function(lambda: float(self._sessions.open))
        self._pod_cost = self._cost_keeper()
        self._health = self._health_server()

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Work until ``stop`` is set, then drain; when ``hurry`` is set, hand back at once what is still in work."""
        self._start()
        wait_for_signal(stop)
        self._drain(hurry)

    def _start(self) -> None:
        if self._health:
            self._health.start()
        self._consuming.start()
        self._publisher.start()
        self._control.start()
        self._gate.start()
        self._sweeper.start()
        self._taker.start()
        if self._pod_cost:
            self._pod_cost.start()
        _LOG.info(
            "worker started",
            worker=self._settings.worker.name,
            lanes=sorted(self._settings.worker.lanes),
            parallel_filesets=self._settings.worker.parallel_filesets,
            parallel_upload=self._settings.worker.parallel_upload,
            port=self._health.port if self._health else None,
        )

    def _drain(self, hurry: threading.Event) -> None:
        _LOG.info("worker stops: it finishes what it has begun and takes nothing more")
        self._draining = True
        self._taker.stop()
        self._finish(hurry)
        self._taker.close()
        if self._pod_cost:
            self._pod_cost.stop()
        self._parts.uploads.close()
        if self._parts.scanner is not None:
            self._parts.scanner.close()
        self._sweeper.stop()
        self._gate.stop()
        self._control.stop()
        self._sessions.close()
        self._gateway.close()
        self._publisher.stop(_CLOSE_SECONDS)
        self._consuming.stop(_CLOSE_SECONDS)
        if self._health:
            self._health.stop()
        _LOG.info("worker stopped")

    def _finish(self, hurry: threading.Event) -> None:
        """Let what is in work end by itself within the grace time, and have the rest handed back."""
        deadline = time.monotonic() + self._settings.worker.grace_seconds
        while not self._taker.wait_done(LOOK_SECONDS):
            if hurry.is_set() or time.monotonic() > deadline:
                _LOG.warning(
                    "requests in work are handed back", why="told twice" if hurry.is_set() else "grace is over"
                )
                self._hurry.set()
                return

    def _ready_to_take(self, deadline_seconds: float) -> bool:
        self._count_dropped()
        return (
            self._control.wait_known(deadline_seconds)
            and self._gate.wait_open(deadline_seconds)
            and self._publisher.link.wait_writable(deadline_seconds)
        )

    def _count_dropped(self) -> None:
        dropped = self._publisher.dropped
        self._metrics.events_dropped.inc(dropped - self._dropped)
        self._dropped = dropped

    def _check_omero(self) -> None:
        self._gateway.open()
        self._gateway.check()
        self._sessions.expire()
        if self._links:
            self._links.repository.check(self._gateway.server_info().repository_uuid)
        if self._gate.problem:
            self._check_slots()

    def _check_slots(self) -> None:
        """Refuse to load the server with more than it certainly bears; what it does not tell is not judged."""
        found = slot_problems(self._gateway.limits(), self._settings.omero)
        if found:
            raise failure(Reason.OMERO_OVERCOMMITTED, "; ".join(found))

    def _new_password(self) -> bool:
        """Whether the password file holds another password than the one that was refused; it is used from now on."""
        try:
            address = omero_address(self._settings.omero)
        except UsageError:
            return False
        changed = address != self._gateway.address
        self._gateway.address = address
        return changed

    def _ordered(self) -> None:
        """An operator paused, resumed or cancelled something: look again."""
        for lane in self._settings.worker.lanes:
            self._metrics.lane_paused.labels(lane).set(self._control.is_paused(lane))
        self._source.ring()

    def _cancelled(self, request: ImportRequest) -> str | None:
        return self._control.cancelled(request.request_id, request.batch.id)

    def _link_state(self, role: str) -> Callable[[LinkState], None]:
        def changed(state: LinkState) -> None:
            self._metrics.broker_connected.labels(role).set(state.connected)
            if state.connected and state.generation > 1:
                self._metrics.broker_reconnects.labels(role).inc()
                if role == "consume":
                    self._taker.reconnected()

        return changed

    def _cost_keeper(self) -> PodCost | None:
        if not self._settings.worker.pod_deletion_cost:
            return None
        pod = Pod.of_environment(self._settings.worker.name, os.environ)
        return PodCost(pod.annotate, lambda: self._taker.in_work)

    def _health_server(self) -> Health | None:
        if not self._settings.metrics.port:
            return None
        return Health(
            self._settings.metrics,
            self._metrics.registry,
            live={"taker": lambda: self._taker.problem},
            ready=self._readiness(),
        )

    def _readiness(self) -> Mapping[str, Callable[[], str | None]]:
        return {
            "rabbitmq-consume": lambda: _down(self._consuming),
            "rabbitmq-publish": lambda: _down(self._publisher.link),
            "control": lambda: self._control.problem,
            "omero": lambda: self._gate.problem,
            "draining": lambda: "the worker stops" if self._draining else None,
        }


def _down(link: Link) -> str | None:
    state = link.state
    return None if state.connected and not state.blocked else state.reason or "not connected"
