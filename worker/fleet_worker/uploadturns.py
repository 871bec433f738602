"""What :mod:`~fleet_worker.uploadslots` is made of: how long slots are kept, a slot that is kept, a file that waits.

Threading: slots and tickets are changed only with the lock of the slots held; a ticket's event may be waited for
without.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from fleet_common.broker import Lease
from fleet_common.errors import Reason, failure


@dataclass(frozen=True, slots=True)
class Turns:
    """How long slots are kept.

    Attributes:
        idle_seconds: Without a file to send a slot is given back after so long.
        turn_seconds: In use for so long it is given back between two files, if no other slot is free.
        stand_back_seconds: After that no slot is asked for; longer than the longest pause of those who wait.
        retry_seconds: Between two rounds over taken slots, give or take half.
        wait_seconds: The longest that one file waits.
    """

    idle_seconds: float = 1.0
    turn_seconds: float = 10.0
    stand_back_seconds: float = 1.0
    retry_seconds: float = 0.5
    wait_seconds: float = 86400.0


@dataclass(slots=True, eq=False)
class Kept:
    """A lease, since when it has its turn, and since when nothing is sent with it."""

    lease: Lease
    since: float
    idle_since: float


@dataclass(slots=True, eq=False)
class Ticket:
    """A file that waits: ready when it was given a slot, or was refused."""

    ready: threading.Event = field(default_factory=threading.Event)
    kept: Kept | None = None
    refusal: tuple[Reason, str] = (Reason.DRAINING, "")

    def give(self, kept: Kept) -> None:
        """End the wait with a slot."""
        self.kept = kept
        self.ready.set()

    def refuse(self, reason: Reason, message: str) -> None:
        """End the wait without one."""
        self.refusal = (reason, message)
        self.ready.set()

    def slot(self) -> Kept:
        """What was given, or the error of the refusal."""
        if self.kept is None:
            raise failure(*self.refusal)
        return self.kept
