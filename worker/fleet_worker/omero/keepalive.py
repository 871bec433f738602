"""One thread that keeps all sessions of a worker alive.

Not ``client.enableKeepAlive``: that drops a session after one failed ping for ever (ome/omero-py,
``omero.util.Resources``). A connection that is half open shows nothing but silence: calls over it would wait for
minutes or, to hash a large file, for hours. Two pings in a row without an answer tell. Threading: the thread belongs to
the :class:`KeepAlive` that started it and ends with :meth:`KeepAlive.close`; ``add`` and ``remove`` may be called from
any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import Ice
import structlog

from fleet_common.errors import RequestError

INTERVAL_SECONDS: Final = 30.0
"""A fraction of the 600 s after which an idle session is closed, and short enough for load balancers."""

SILENT_PINGS: Final = 2
"""So many pings in a row without an answer mean that none will come."""
AGAIN_SECONDS: Final = 5.0
"""After a round in which a ping got no answer the next one comes so soon."""

Ping = Callable[[], None]


@dataclass(slots=True)
class _Session:
    """What is called for one session, and how many pings in a row got no answer."""

    ping: Ping
    on_silence: Callable[[], None]
    silent: int = 0


def nothing() -> None:
    """Nobody wants to know."""


class KeepAlive:
    """Calls every registered ping again and again; one that fails is called again next time.

    Args:
        interval_seconds: Between two rounds.
        on_failure: Called for every ping that failed.
    """

    def __init__(self, interval_seconds: float = INTERVAL_SECONDS, *, on_failure: Callable[[], None] = nothing) -> None:
        self._interval_seconds = interval_seconds
        self._on_failure = on_failure
        self._sessions: dict[str, _Session] = {}
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

    def add(self, name: str, ping: Ping, *, on_silence: Callable[[], None] = nothing) -> None:
        """Call ``ping`` from now on.

        Args:
            name: Appears in logs.
            ping: Raises when it fails; ends by itself.
            on_silence: Called on this object's thread when two pings in a row got no answer; must not raise.
        """
        with self._lock:
            self._sessions[name] = _Session(ping, on_silence)

    def remove(self, name: str) -> None:
        """Stop calling it; a call that is under way may still end later."""
        with self._lock:
            self._sessions.pop(name, None)

    def close(self) -> None:
        """End the thread; waits for a ping that is under way, at most the 20 s that a ping may take."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=25.0)

    def ping_all(self) -> int:
        """One round; how many pings failed."""
        with self._lock:
            sessions = tuple(self._sessions.items())
        return sum(not self._try(name, session) for name, session in sessions)

    def _run(self) -> None:
        pause_seconds = self._interval_seconds
        while not self._stopped.wait(pause_seconds):
            failed = self.ping_all()
            pause_seconds = min(AGAIN_SECONDS, self._interval_seconds) if failed else self._interval_seconds

    def _try(self, name: str, session: _Session) -> bool:
        if self._answers(name, session):
            session.silent = 0
            return True
        self._on_failure()
        if session.silent >= SILENT_PINGS:
            self._log.warning("nothing answers on this connection: it is given up", session=name)
            session.silent = 0
            session.on_silence()
        return False

    def _answers(self, name: str, session: _Session) -> bool:
        try:
            session.ping()
        except RequestError as error:
            session.silent = session.silent + 1 if isinstance(error.__cause__, Ice.TimeoutException) else 0
            self._log.warning("keep-alive failed", session=name, reason=error.reason, error=str(error))
        except Exception:
            # The edge of the thread: one session's defect must not let all other sessions die.
            self._log.exception("keep-alive failed unexpectedly", session=name)
        else:
            return True
        return False
