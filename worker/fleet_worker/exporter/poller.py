"""Looks at one source again and again, and puts what it saw on the board.

Threading: a poller owns one thread, called after its source, from :meth:`Poller.start` to :meth:`Poller.stop`; the look
runs on it and may wait for its server as long as that server's own time-outs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from fleet_common.errors import Reason, RequestError
from fleet_worker.exporter.board import Board, Seen

_LOG = structlog.get_logger()
REFUSED_SECONDS: Final = 600.0
"""A login that was refused is not tried again sooner: OMERO and LDAP lock accounts."""
_STOP_SECONDS: Final = 5.0


class Poller:
    """One source.

    Args:
        source: Its name, see :data:`fleet_common.fleetmetrics.SOURCES`.
        look: Sees it; what it raises means that it cannot be read now.
        board: Where to put what was seen.
        interval_seconds: Between two looks.
    """

    def __init__(self, source: str, look: Callable[[], Seen], board: Board, *, interval_seconds: float) -> None:
        self._source, self._look, self._board = source, look, board
        self._interval_seconds = interval_seconds
        self._problem = f"{source} was not read yet"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"look-{source}", daemon=True)
        board.expect(source)

    @property
    def problem(self) -> str | None:
        """Why the source could not be read; None when it could."""
        return self._problem or None

    @property
    def ended(self) -> str | None:
        """Whether the thread is gone; None while it runs."""
        return None if self._thread.is_alive() else f"the thread that reads {self._source} has ended"

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that waits for its server is not waited for."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)

    def round(self) -> float:
        """One look; how many seconds to wait until the next."""
        try:
            self._board.put(self._source, self._look())
        except RequestError as error:
            self._fail(f"{error.reason}: {error}")
            return REFUSED_SECONDS if error.reason is Reason.OMERO_LOGIN_REFUSED else self._interval_seconds
        except Exception as defect:
            # The boundary of the poller's thread: without it the source would never be looked at again.
            _LOG.exception("a source could not be read because of a defect", source=self._source)
            self._fail(f"{Reason.INTERNAL_ERROR}: {type(defect).__name__}: {defect}")
            return self._interval_seconds
        self._problem = ""
        return self._interval_seconds

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.round())

    def _fail(self, problem: str) -> None:
        self._board.drop(self._source)
        if problem != self._problem:
            _LOG.warning("cannot be read", source=self._source, problem=problem)
        self._problem = problem
