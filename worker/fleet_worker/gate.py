"""Whether OMERO lets us work: opened by a health check that passes, closed by an attempt that found the server away.

While it is closed nothing is taken, so that an outage of OMERO costs no request an attempt and no request waits in a
retry tier longer than it must. A refused login breaks it: logging in again by itself would lock the account, so it
stays closed until somebody has mended the cause. Owned by the worker; ``close`` and ``mend`` may be called from any
thread, the health checks run on a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from fleet_common.errors import Reason, RequestError, failure

_LOG = structlog.get_logger()
CHECK_SECONDS: Final = 5.0
"""How often a closed gate asks the server; also the first wait after it was closed."""
WATCH_SECONDS: Final = 30.0
"""How often an open gate asks: a full disk closes it before an attempt meets it."""


class Gate:
    """Closed until the first check passes.

    Args:
        check: Raises while the server does not let us work.
        mended: Whether a broken gate may be tried again, such as after a new password.
        check_seconds: Between two checks while it is closed.
        watch_seconds: Between two checks while it is open.
    """

    def __init__(
        self,
        check: Callable[[], None],
        *,
        mended: Callable[[], bool] = lambda: False,
        check_seconds: float = CHECK_SECONDS,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._check = check
        self._mended = mended
        self._check_seconds = check_seconds
        self._watch_seconds = watch_seconds
        self._open = threading.Event()
        self._problem = "not logged in yet"
        self._broken = False
        self._stopping = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="omero-gate", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the gate is closed; None while it is open."""
        return None if self._open.is_set() else self._problem

    @property
    def broken(self) -> bool:
        """Whether it stays closed until somebody has mended the cause."""
        return self._broken

    def start(self) -> None:
        """Begin to ask the server."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        self._closed.set()
        self._thread.join(timeout=30)

    def close(self, error: RequestError) -> None:
        """Let nobody through until a check passes."""
        with self._lock:
            self._problem = f"{error.reason}: {error}"
            self._open.clear()
            self._closed.set()

    def mend(self) -> None:
        """Try a broken gate again: an operator says that the cause is mended."""
        self._broken = False

    def wait_open(self, deadline_seconds: float) -> bool:
        """Wait until the gate is open; False when it is not by the deadline."""
        return self._open.wait(deadline_seconds)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._closed.clear()
            if self._may_try() and self._passes():
                self._let_through()
                self._closed.wait(self._watch_seconds)
            if not self._open.is_set():
                self._stopping.wait(self._check_seconds)

    def _may_try(self) -> bool:
        if self._broken and self._mended():
            self._broken = False
        return not self._broken

    def _let_through(self) -> None:
        with self._lock:
            # An attempt that found the server away while it was asked knows better.
            if not self._closed.is_set() and not self._open.is_set():
                _LOG.info("OMERO is ready")
                self._problem = ""
                self._open.set()

    def _passes(self) -> bool:
        try:
            self._check()
        except RequestError as error:
            self._broken = error.reason is Reason.OMERO_LOGIN_REFUSED
            self._refuse(error)
            return False
        except Exception as defect:
            # The boundary of the gate's thread: without it nothing would ever be taken again.
            self._refuse(failure(Reason.INTERNAL_ERROR, f"{type(defect).__name__}: {defect}"))
            return False
        return True

    def _refuse(self, error: RequestError) -> None:
        """Close, and say what is wrong once."""
        known = self._problem
        self.close(error)
        if self._problem != known:
            _LOG.warning("OMERO does not let us work", problem=self._problem)
