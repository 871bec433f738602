"""Takes a slot of the OMERO server, with the wait measured and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fleet_worker.parts import Parts


@contextmanager
def slot(parts: Parts, kind: str, check: Callable[[], None]) -> Iterator[None]:
    """Hold one slot of a kind; wait for it as long as an import may take.

    Args:
        parts: Of the worker.
        kind: ``create`` or ``import``.
        check: Raises when the attempt must stop.

    Raises:
        RequestError: The attempt must stop, or no slot was free in time.
    """
    omero = parts.settings.omero
    count = omero.create_slots if kind == "create" else omero.import_slots
    names = parts.names.slots(omero.name, kind, count)
    began = parts.monotonic()
    lease = parts.locks.take_one_of(names, parts.settings.worker.import_deadline_seconds, stop=asking(check))
    parts.metrics.slot_seconds.labels(kind).observe(parts.monotonic() - began)
    parts.metrics.slots_held.labels(kind).inc()
    try:
        yield
    finally:
        parts.metrics.slots_held.labels(kind).dec()
        lease.release()


def asking(check: Callable[[], None]) -> Callable[[], bool]:
    """A check that raises, as the question that a wait for locks asks: it never says yes, it ends the wait itself."""

    def stop() -> bool:
        check()
        return False

    return stop
