"""The names of everything the fleet has in the broker, and which retry tier a delay belongs to.

Role: the only place where names are put together. Neighbours: everything in this package. Threading: plain data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleet_common.messages import Priority
from fleet_common.tiers import RETRY_TIERS_SECONDS

_PLAIN: Final = re.compile(r"[A-Za-z0-9_:@-][A-Za-z0-9_.:@-]*")


@dataclass(frozen=True, slots=True)
class Names:
    """The names under one prefix, so that two fleets can share a virtual host.

    Attributes:
        prefix: Ends with a dot.
        tiers_seconds: The delays of the retry queues.
    """

    prefix: str = "import."
    tiers_seconds: tuple[int, ...] = RETRY_TIERS_SECONDS

    @property
    def requests(self) -> str:
        """The exchange that producers publish requests to, with the key ``<lane>.<class>``."""
        return f"{self.prefix}requests"

    @property
    def due(self) -> str:
        """The exchange that only the broker writes to: retries whose time has come."""
        return f"{self.prefix}due"

    @property
    def dead(self) -> str:
        """Exchange and queue of dead letters."""
        return f"{self.prefix}dead"

    @property
    def events(self) -> str:
        """The exchange for events, with the key ``<lane>.<kind>``."""
        return f"{self.prefix}events"

    @property
    def event_log(self) -> str:
        """The stream that keeps all events. Not named as the exchange: read on one would be read on both."""
        return f"{self.prefix}event-log"

    @property
    def control(self) -> str:
        """The exchange for what operators tell all workers."""
        return f"{self.prefix}control"

    @property
    def control_log(self) -> str:
        """The stream that keeps what operators told."""
        return f"{self.prefix}control-log"

    @property
    def wake(self) -> str:
        """The fanout exchange that is the doorbell of idle workers."""
        return f"{self.prefix}wake"

    def lane_queue(self, lane: str, priority: Priority | str) -> str:
        """The queue of one class of one lane."""
        return f"{self.prefix}lane.{lane}.{priority}"

    def lane_queues(self, lane: str) -> tuple[str, ...]:
        """The queues of a lane, urgent first."""
        return tuple(self.lane_queue(lane, priority) for priority in Priority)

    def retry(self, tier_seconds: int) -> str:
        """Exchange and queue of one retry tier."""
        return f"{self.prefix}retry.{tier_seconds}"

    def retry_for(self, delay_seconds: float) -> str:
        """The retry tier for a delay."""
        return self.retry(pick_tier(delay_seconds, self.tiers_seconds))

    def lock(self, name: str) -> str:
        """The exclusive queue that is a lock, such as that of a request id."""
        return f"{self.prefix}lock.{_checked(name)}"

    def slot(self, server: str, kind: str, index: int) -> str:
        """The exclusive queue that is one slot of a server."""
        return f"{self.prefix}slot.{_checked(server)}.{_checked(kind)}.{index}"

    def is_slot(self, name: str) -> bool:
        """Whether a name is that of a slot."""
        return name.startswith(f"{self.prefix}slot.")

    def slots(self, server: str, kind: str, count: int) -> tuple[str, ...]:
        """All slots of one kind of a server."""
        return tuple(self.slot(server, kind, index) for index in range(count))

    def doorbell(self, token: str) -> str:
        """The exclusive queue of one worker that hears the doorbell."""
        return f"{self.wake}.{_checked(token)}"

    def follower(self, user: str, token: str) -> str:
        """The exclusive queue through which a producer follows its own events."""
        return f"{self.prefix}follow.{_checked(user)}.{_checked(token)}"


def pick_tier(delay_seconds: float, tiers_seconds: Sequence[int] = RETRY_TIERS_SECONDS) -> int:
    """The shortest tier that is not shorter than the delay; the longest one for anything beyond."""
    return min((tier for tier in tiers_seconds if tier >= delay_seconds), default=max(tiers_seconds))


def _checked(part: str) -> str:
    if not _PLAIN.fullmatch(part):
        raise ValueError(f"{part!r} cannot be part of a queue's name: use letters, digits and any of _ . : @ -")
    return part
