"""Whether OMERO lets us work: opened by a health check that passes, closed by an attempt that found the server away.

While it is closed nothing is taken, so that an outage of OMERO costs no request an attempt and no request waits in a
retry tier longer than it must. Owned by the worker; ``close`` may be called from any thread, ``watch`` runs on a
thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from fleet_common.errors import Reason, RequestError

_LOG = structlog.get_logger()
CHECK_SECONDS: Final = 5.0
"""How often a closed gate asks the server; also the first wait after it was closed."""


class Gate:
    """Closed until the first check passes."""

    def __init__(self, check: Callable[[], None], *, check_seconds: float = CHECK_SECONDS) -> None:
        self._check = check
        self._check_seconds = check_seconds
        self._open = threading.Event()
        self._problem = "not logged in yet"
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="omero-gate", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the gate is closed; None while it is open."""
        return None if self._open.is_set() else self._problem

    def start(self) -> None:
        """Begin to ask the server."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        self._closed.set()
        self._thread.join(timeout=30)

    def close(self, problem: str) -> None:
        """Let nobody through until a check passes."""
        with self._lock:
            self._problem = problem
            self._open.clear()
            self._closed.set()

    def wait_open(self, deadline_seconds: float) -> bool:
        """Wait until the gate is open; False when it is not by the deadline."""
        return self._open.wait(deadline_seconds)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._closed.clear()
            if self._passes():
                self._let_through()
                self._closed.wait()
            self._stopping.wait(self._check_seconds)

    def _let_through(self) -> None:
        with self._lock:
            # An attempt that found the server away while it was asked knows better.
            if not self._closed.is_set():
                self._open.set()

    def _passes(self) -> bool:
        try:
            self._check()
        except RequestError as error:
            self._note(f"{error.reason}: {error}")
            return False
        except Exception as defect:
            # The boundary of the gate's thread: without it nothing would ever be taken again.
            self._note(f"{Reason.INTERNAL_ERROR}: {type(defect).__name__}: {defect}")
            return False
        _LOG.info("OMERO is ready")
        return True

    def _note(self, problem: str) -> None:
        """Keep what is wrong, and say so once."""
        if problem != self._problem:
            _LOG.warning("OMERO does not let us work", problem=problem)
        self._problem = problem
