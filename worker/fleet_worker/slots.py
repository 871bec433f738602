"""Takes slots of the OMERO server, with the wait measured and shown, and counts before an import starts.

A slot of a worker that died is free at once, while OMERO still imports for it. So whoever has an import slot also
counts what runs, in the database, under a lock that all workers of the server share, and keeps that lock until its own
import counts, too: until the server has accepted it, or until it is written on the fileset that it is about to start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from fleet_common.broker import Lease
from fleet_common.errors import Reason, failure
from fleet_common.settings import OmeroSettings
from fleet_worker.parts import Parts

_LOG = structlog.get_logger()
RECOUNT_SECONDS: Final = 1.0
_STAGED_PER_IMPORT: Final = 2


def slot_count(omero: OmeroSettings, kind: str) -> int:
    """How many slots of a kind the server has.

    ``staged`` bounds filesets between registration and the end of their import: as many as may run, and as many again
    that are uploaded meanwhile, so that the server is never idle, nor full of filesets that wait.
    """
    counts = {
        "create": omero.create_slots,
        "upload": omero.upload_slots,
        "import": omero.import_slots,
        "staged": _STAGED_PER_IMPORT * omero.import_slots,
    }
    return counts[kind]


@contextmanager
def slot(parts: Parts, kind: str, check: Callable[[], None]) -> Iterator[None]:
    """Hold one slot of a kind; wait for it as long as an import may take.

    Args:
        parts: Of the worker.
        kind: ``create``, ``staged`` or ``import``.
        check: Raises when the attempt must stop.

    Raises:
        RequestError: The attempt must stop, or no slot was free in time.
    """
    omero = parts.settings.omero
    names = parts.names.slots(omero.name, kind, slot_count(omero, kind))
    began = parts.monotonic()
    with parts.metrics.slots_waiting.labels(kind).track_inprogress():
        lease = parts.locks.take_one_of(names, parts.settings.worker.import_deadline_seconds, stop=asking(check))
    parts.metrics.slot_seconds.labels(kind).observe(parts.monotonic() - began)
    parts.metrics.slots_held.labels(kind).inc()
    _LOG.debug("slot taken", kind=kind)
    try:
        yield
    finally:
        parts.metrics.slots_held.labels(kind).dec()
        _LOG.debug("slot given back", kind=kind)
        _give_back(parts, lease)


@contextmanager
def leave_to_start(parts: Parts, check: Callable[[], None], fileset_id: int) -> Iterator[None]:
    """Hold the server's gate while it runs fewer imports than it may; start one inside, or have it counted.

    Args:
        parts: Of the worker.
        check: Raises when the attempt must stop.
        fileset_id: Of the import; it may count already.

    Raises:
        RequestError: The attempt must stop, or the server was full for as long as an import may take.
    """
    omero, deadline_seconds = parts.settings.omero, parts.settings.worker.import_deadline_seconds
    gate, give_up_at = parts.names.lock(f"gate.{omero.name}"), parts.monotonic() + deadline_seconds
    while parts.monotonic() < give_up_at:
        lease = parts.locks.take_one_of([gate], deadline_seconds, stop=asking(check))
        try:
            check()
            if parts.gateway.running_imports(besides=fileset_id) < omero.import_slots:
                yield
                return
        finally:
            _give_back(parts, lease)
        parts.pause(RECOUNT_SECONDS)
    raise failure(Reason.OMERO_BUSY, f"OMERO runs {omero.import_slots} imports of the fleet, and none of them ends")


def _give_back(parts: Parts, lease: Lease) -> None:
    """Let go, and wake who waits for it: between two imports the server is idle."""
    lease.release()
    parts.publisher.ring(lease.name)


def asking(check: Callable[[], None]) -> Callable[[], bool]:
    """A check that raises, as the question that a wait for locks asks: it never says yes, it ends the wait itself."""

    def stop() -> bool:
        check()
        return False

    return stop
