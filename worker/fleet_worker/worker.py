"""The life of a worker: start, take as long as there is room, drain.

Threads and their owners: the taker (here) is the only one that takes; ``parallel_filesets`` threads (here) handle one
delivery each; the upload pool, the gate, the two broker links, the OMERO gateway and the health server own theirs.
The main thread waits for a signal and drains. Order of the drain: not ready ─ stop taking ─ finish what is in work,
with heartbeats, locks and slots still held ─ close uploads, gate, OMERO, publisher, consuming link, health.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from fleet_common.broker import LaneSource, Link, LinkState, Locks, Publisher
from fleet_common.connect import broker_address, broker_names
from fleet_common.health import Health
from fleet_common.metrics import Metrics
from fleet_common.settings import Settings
from fleet_common.storage import Share, Shares
from fleet_worker.gate import Gate
from fleet_worker.handling import Handler
from fleet_worker.omero.address import OmeroAddress
from fleet_worker.omero.gateway import Gateway
from fleet_worker.parts import Parts
from fleet_worker.uploads import UploadPool

_LOG = structlog.get_logger()
_TAKE_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 10.0
_TICK_LIMIT_SECONDS: Final = 60.0
_SIGNAL_SECONDS: Final = 0.5


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._stopping = threading.Event()
        self._dropped = 0
        self._ticked_at = time.monotonic()
        address, names = broker_address(settings.broker), broker_names(settings.broker)
        self._consuming = Link(address, role="consume", on_state=self._link_state("consume"))
        self._publisher = Publisher(address, names, on_state=self._link_state("publish"))
        self._source = LaneSource(self._consuming, names, tuple(settings.worker.lanes))
        self._gateway = Gateway(_omero_address(settings), clock=time.monotonic)
        self._gate = Gate(self._check_omero)
        self._parts = Parts(
            settings=settings,
            shares=Shares(Share(name, root) for name, root in settings.shares.items()),
            names=names,
            gateway=self._gateway,
            locks=Locks(self._consuming),
            publisher=self._publisher,
            uploads=UploadPool(settings.worker.parallel_upload),
            metrics=self._metrics,
        )
        self._hurry = threading.Event()
        self._handler = Handler(self._parts, self._close_gate, self._hurry)
        self._room = threading.BoundedSemaphore(settings.worker.parallel_filesets)
        self._handlers = ThreadPoolExecutor(settings.worker.parallel_filesets, thread_name_prefix="request")
        self._taker = threading.Thread(target=self._take_for_ever, name="taker")
        self._health = self._health_server()

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set, then drain."""
        self._start()
        wait_for_signal(stop)
        self._drain()

    def _start(self) -> None:
        if self._health:
            self._health.start()
        self._consuming.start()
        self._publisher.start()
        self._gate.start()
        self._taker.start()
        _LOG.info(
            "worker started",
            worker=self._settings.worker.name,
            lanes=sorted(self._settings.worker.lanes),
            parallel_filesets=self._settings.worker.parallel_filesets,
            parallel_upload=self._settings.worker.parallel_upload,
            port=self._health.port if self._health else None,
        )

    def _drain(self) -> None:
        _LOG.info("worker stops: it finishes what it has begun and takes nothing more")
        self._stopping.set()
        self._source.wake()
        self._taker.join()
        self._finish()
        self._parts.uploads.close()
        self._gate.stop()
        self._gateway.close()
        self._publisher.stop(_CLOSE_SECONDS)
        self._consuming.stop(_CLOSE_SECONDS)
        if self._health:
            self._health.stop()
        _LOG.info("worker stopped")

    def _finish(self) -> None:
        """Let what is in work end by itself within the grace time, and have the rest handed back."""
        deadline = time.monotonic() + self._settings.worker.grace_seconds
        for _ in range(self._settings.worker.parallel_filesets):
            if not self._room.acquire(timeout=max(0.0, deadline - time.monotonic())):
                _LOG.warning("grace time is over: requests in work are handed back")
                self._hurry.set()
                break
        self._handlers.shutdown(wait=True)

    def _take_for_ever(self) -> None:
        while not self._stopping.is_set():
            self._ticked_at = time.monotonic()
            self._count_dropped()
            if self._room.acquire(timeout=_TAKE_SECONDS):
                self._take_one()

    def _take_one(self) -> None:
        """Take a request if all is well, and hand it to a thread that gives the room back."""
        delivery = None
        try:
            if self._gate.wait_open(_TAKE_SECONDS) and self._publisher.link.wait_writable(_TAKE_SECONDS):
                delivery = None if self._stopping.is_set() else self._source.take(_TAKE_SECONDS)
        finally:
            if delivery is None:
                self._room.release()
        if delivery is not None:
            self._handlers.submit(self._handler.handle, delivery).add_done_callback(lambda _: self._room.release())

    def _count_dropped(self) -> None:
        dropped = self._publisher.dropped
        self._metrics.events_dropped.inc(dropped - self._dropped)
        self._dropped = dropped

    def _check_omero(self) -> None:
        try:
            self._gateway.open()
            self._gateway.check()
        except Exception:
            self._metrics.omero_connected.set(0)
            raise
        self._metrics.omero_connected.set(1)

    def _close_gate(self, problem: str) -> None:
        self._metrics.omero_connected.set(0)
        self._gate.close(problem)

    def _link_state(self, role: str) -> Callable[[LinkState], None]:
        def changed(state: LinkState) -> None:
            self._metrics.broker_connected.labels(role).set(state.connected)
            if state.connected and state.generation > 1:
                self._metrics.broker_reconnects.labels(role).inc()

        return changed

    def _health_server(self) -> Health | None:
        if not self._settings.metrics.port:
            return None
        return Health(
            self._settings.metrics,
            self._metrics.registry,
            live={"taker": self._taker_ticks},
            ready={
                "rabbitmq-consume": lambda: _down(self._consuming),
                "rabbitmq-publish": lambda: _down(self._publisher.link),
                "omero": lambda: self._gate.problem,
                "draining": lambda: "the worker stops" if self._stopping.is_set() else None,
            },
        )

    def _taker_ticks(self) -> str | None:
        silent_seconds = time.monotonic() - self._ticked_at
        if self._stopping.is_set() or silent_seconds < _TICK_LIMIT_SECONDS:
            return None
        return f"nothing was taken or looked for during {silent_seconds:.0f} s"


def wait_for_signal(stop: threading.Event) -> None:
    """Wait until a signal handler sets ``stop``; only for the main thread, where Python runs the handlers.

    The kernel may give the signal to any thread, such as one of Ice's. The main thread is not woken then, so it looks
    twice a second: one wait without end missed one SIGTERM in eight under load.
    """
    while not stop.wait(_SIGNAL_SECONDS):
        pass


def _down(link: Link) -> str | None:
    state = link.state
    return None if state.connected and not state.blocked else state.reason or "not connected"


def _omero_address(settings: Settings) -> OmeroAddress:
    omero = settings.omero
    return OmeroAddress(
        host=omero.host,
        port=omero.port,
        user=omero.user,
        password=omero.read_password(),
        verify_tls=omero.verify_tls,
        ca_file=omero.ca_file,
    )
