"""What the heartbeats of all producers say, by lane. Threading: plain data; one thread writes and reads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from fleet_common.heartbeats import Heartbeat

MOST_PRODUCERS: Final = 500
FORGOTTEN_SECONDS: Final = 7 * 86400.0
"""A producer that said nothing for so long is taken for one that was taken out of service."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The last heartbeat of one producer, and when it was told, in seconds since 1970."""

    heartbeat: Heartbeat
    seconds: float


class Producers:
    """The last heartbeat of each host of each lane; those that were silent longest are forgotten first."""

    def __init__(self, *, most: int = MOST_PRODUCERS) -> None:
        self._most = most
        self._heard: OrderedDict[tuple[str, str], Heard] = OrderedDict()

    def add(self, heartbeat: Heartbeat, seconds: float) -> None:
        """Take in a heartbeat that was told at this moment."""
        key = (heartbeat.lane, heartbeat.host)
        self._heard.pop(key, None)
        self._heard[key] = Heard(heartbeat, seconds)
        if len(self._heard) > self._most:
            self._heard.popitem(last=False)

    def not_after(self, seconds: float) -> None:
        """What was taken in so far was told by this moment, also by hosts whose clocks are fast."""
        for key, heard in tuple(self._heard.items()):
            if heard.seconds > seconds:
                self._heard[key] = replace(heard, seconds=seconds)

    def of(self, lane: str, now_seconds: float) -> tuple[Heard, ...]:
        """The producers of a lane that are still believed to be in service."""
        return tuple(self._in_service(lane, now_seconds))

    def _in_service(self, lane: str, now_seconds: float) -> Iterator[Heard]:
        for (of_lane, _), heard in self._heard.items():
            if of_lane == lane and now_seconds - heard.seconds <= FORGOTTEN_SECONDS:
                yield heard
