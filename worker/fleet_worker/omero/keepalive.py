"""One thread that keeps all sessions of a worker alive.

Not ``client.enableKeepAlive``: that drops a session after one failed ping for ever (ome/omero-py,
``omero.util.Resources``). Threading: the thread belongs to the :class:`KeepAlive` that started it and ends with
:meth:`KeepAlive.close`; ``add`` and ``remove`` may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from fleet_common.errors import RequestError

INTERVAL_SECONDS: Final = 30.0
"""A fraction of the 600 s after which an idle session is closed, and short enough for load balancers."""

Ping = Callable[[], None]


class KeepAlive:
    """Calls every registered ping again and again; one that fails is called again next time."""

    def __init__(self, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._interval_seconds = interval_seconds
        self._pings: dict[str, Ping] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = structlog.get_logger(__name__)

    def start(self) -> None:
        """Start the thread; a running one is left running."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="omero-keep-alive", daemon=True)
                self._thread.start()

    def add(self, name: str, ping: Ping) -> None:
        """Call ``ping`` from now on; the name appears in logs."""
        with self._lock:
            self._pings[name] = ping

    def remove(self, name: str) -> None:
        """Stop calling it; a call that is under way may still end later."""
        with self._lock:
            self._pings.pop(name, None)

    def close(self) -> None:
        """End the thread; waits for a ping that is under way, at most the 20 s that a ping may take."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=25.0)

    def ping_all(self) -> int:
        """One round; how many pings failed."""
        with self._lock:
            pings = tuple(self._pings.items())
        return sum(not self._try(name, ping) for name, ping in pings)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_seconds):
            self.ping_all()

    def _try(self, name: str, ping: Ping) -> bool:
        try:
            ping()
        except RequestError as error:
            self._log.warning("keep-alive failed", session=name, reason=error.reason, error=str(error))
        except Exception:
            # The edge of the thread: one session's defect must not let all other sessions die.
            self._log.exception("keep-alive failed unexpectedly", session=name)
        else:
            return True
        return False
