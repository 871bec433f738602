"""Sessions of owners, kept for their next request.

To make one and to end it costs the server as much as the registration of a small image. Only a session in which
everything went well is kept, for a minute without use and for five in all, and it is looked at before it is used again.
So whoever dies with kept sessions leaves nothing in them that is not done. Neighbours: the gateway makes sessions and
keeps them alive. Threading: safe in any thread; a session is lent to one attempt at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from fleet_worker.omero.session import OwnerSession

IDLE_SECONDS: Final = 60.0
AGE_SECONDS: Final = 300.0
"""An old session shows the rights of its owner as they were when it began."""
TRUST_SECONDS: Final = 2.0
"""One that was used so short a time ago is not looked at."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A session that nobody uses, since when it is there and since when it is not used."""

    session: OwnerSession
    opened: float
    since: float


class Lender:
    """Lends sessions of owners, new ones or such as others have used.

    Args:
        open_session: Makes a session for a user in a group.
        most: So many are kept at most; 0 keeps none.
        monotonic: A clock, in seconds.
    """

    def __init__(
        self,
        open_session: Callable[[str, str], OwnerSession],
        *,
        most: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_session, self._most, self._monotonic = open_session, most, monotonic
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []
        self._lent = 0

    @property
    def open(self) -> int:
        """How many sessions there are, lent or kept."""
        return self._lent + len(self._kept)

    @contextmanager
    def lend(self, user: str, group: str) -> Iterator[OwnerSession]:
        """A session as ``user`` in ``group``; it is ended afterwards if anything fails inside.

        Raises:
            RequestError: None could be made.
        """
        session, opened = self._take(user, group) or (self._open_session(user, group), self._monotonic())
        self._count(1)
        try:
            yield session
        except BaseException:
            session.close()
            raise
        else:
            self._keep(session, opened)
        finally:
            self._count(-1)

    def expire(self) -> None:
        """End what nobody has used for a while; call it now and then."""
        now = self._monotonic()
        self._end(lambda kept: now - kept.since >= IDLE_SECONDS or now - kept.opened >= AGE_SECONDS)

    def close(self) -> None:
        """End all that are kept, and keep none from now on."""
        self._most = 0
        self._end(lambda _: True)

    def _take(self, user: str, group: str) -> tuple[OwnerSession, float] | None:
        self.expire()
        while (kept := self._pop(user, group)) is not None:
            if self._monotonic() - kept.since < TRUST_SECONDS or kept.session.alive():
                return kept.session, kept.opened
            kept.session.close()
        return None

    def _pop(self, user: str, group: str) -> _Kept | None:
        with self._lock:
            for kept in reversed(self._kept):
                if (kept.session.owner.user, kept.session.owner.group) == (user, group):
                    self._kept.remove(kept)
                    return kept
        return None

    def _keep(self, session: OwnerSession, opened: float) -> None:
        settled, now = session.settle(), self._monotonic()
        with self._lock:
            kept = settled and len(self._kept) < self._most
            if kept:
                self._kept.append(_Kept(session, opened, now))
        if not kept:
            session.close()

    def _end(self, over: Callable[[_Kept], bool]) -> None:
        with self._lock:
            ended = [kept for kept in self._kept if over(kept)]
            self._kept = [kept for kept in self._kept if kept not in ended]
        for kept in ended:
            kept.session.close()

    def _count(self, change: int) -> None:
        with self._lock:
            self._lent += change
