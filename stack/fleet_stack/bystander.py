"""Another client of OMERO, who notices when the fleet asks too much of it: for tests and benchmarks.

Threading: one thread asks, owned by the :class:`Bystander`; its findings are read after it was stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from fleet_stack.description import OmeroDescription
from fleet_stack.readback import logged_in

PAUSE_SECONDS: Final = 0.5
LOGIN_EVERY: Final = 8
"""Every so many rounds somebody logs in anew."""


class Bystander:
    """Asks and logs in again and again until it is stopped; a context manager.

    Args:
        omero: Where.
        ask: What is asked; it may raise.
        user: Who logs in.
        pause_seconds: Between two rounds.

    Attributes:
        asked_seconds: How long each call took.
        login_seconds: How long each login took.
        failures: What went wrong.
    """

    def __init__(
        self, omero: OmeroDescription, ask: Callable[[], Any], *, user: str, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._omero, self._ask, self._user = omero, ask, user
        self._pause_seconds = pause_seconds
        self.asked_seconds: list[float] = []
        self.login_seconds: list[float] = []
        self.failures: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask_for_ever, name="bystander")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    @property
    def slowest_seconds(self) -> float:
        """The longest call or login."""
        return max((0.0, *self.asked_seconds, *self.login_seconds))

    def _ask_for_ever(self) -> None:
        rounds = 0
        while not self._stopping.wait(self._pause_seconds):
            self._timed("a query", self._ask, self.asked_seconds)
            if rounds % LOGIN_EVERY == 0:
                self._timed("a login", self._log_in, self.login_seconds)
            rounds += 1

    def _timed(self, what: str, call: Callable[[], Any], seconds: list[float]) -> None:
        began = time.monotonic()
        try:
            call()
        except Exception as error:
            # Whatever OMERO says to another client of it is a finding.
            self.failures.append(f"{what}: {type(error).__name__}: {error}")
        seconds.append(time.monotonic() - began)

    def _log_in(self) -> None:
        with logged_in(self._omero, self._user):
            pass
