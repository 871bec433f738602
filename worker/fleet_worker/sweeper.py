"""One worker of the fleet sweeps, again and again; the others wait to take over.

Whoever gets the lock ``sweep.<server>`` keeps it for as long as it lives. A sweep needs no proof that it is the only
one: each piece is removed under its request's lock; the lock here only saves the server the same questions from every
worker. Neighbours: ``sweep`` does the work, ``worker`` owns a sweeper. Threading: the thread ``sweeper`` belongs to the
:class:`Sweeper`, from :meth:`Sweeper.start` to :meth:`Sweeper.stop`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from fleet_common.broker import Lease
from fleet_common.errors import RequestError
from fleet_worker.sweep import SweepParts, SweepReport, sweep

_LOG = structlog.get_logger()
_STOP_SECONDS: Final = 30.0
"""A deletion that is under way is not waited for longer; the server finishes it."""


class Sweeper:
    """Sweeps every interval while it has the lock.

    Args:
        parts: Of the worker.
        lock_name: Of the lock that only one worker of the server gets: ``names.lock("sweep.<server>")``.
        interval_seconds: Between two sweeps, and between two tries to get the lock; 0 never does anything.
        ready: Whether OMERO lets us work; where it does not, nothing is asked of it.
    """

    def __init__(
        self, parts: SweepParts, lock_name: str, *, interval_seconds: float, ready: Callable[[], bool]
    ) -> None:
        self._parts = parts
        self._lock_name = lock_name
        self._interval_seconds = interval_seconds
        self._ready = ready
        self._lease: Lease | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin; the first sweep comes after one interval."""
        if self._interval_seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """End after the piece that is being removed, and give the lock to another worker."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def round(self) -> SweepReport | None:
        """One sweep, if the lock is ours and OMERO ready; None where it is not."""
        if not self._ready() or not self._has_lock():
            return None
        report = sweep(self._parts, stop=self._must_stop)
        if report.filesets or report.folders:
            _LOG.info(
                "sweep is done",
                filesets=len(report.filesets),
                folders=len(report.folders),
                failed=len(report.failed),
            )
        return report

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_seconds):
            try:
                self.round()
            except RequestError as error:
                _LOG.warning("sweep did not end", reason=error.reason, error=str(error))
            except Exception:
                # The boundary of the sweeper's thread: without it debris would stay for ever after one defect.
                _LOG.exception("sweep ended because of a defect")
        self._let_go()

    def _has_lock(self) -> bool:
        if self._lease is not None and self._lease.lost:
            _LOG.warning("the sweep is another worker's now")
            self._let_go()
        if self._lease is None:
            self._lease = self._parts.locks.try_take(self._lock_name)
        return self._lease is not None

    def _must_stop(self) -> bool:
        return self._stopping.is_set() or self._lease is None or self._lease.lost

    def _let_go(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None
