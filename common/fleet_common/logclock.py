"""When an event was told: workers' clocks are synchronised, acquisition hosts' may be hours off.

The event log is in order, so what a producer told lies between what workers told before and after it. Threading: plain
data, one thread.
"""

from __future__ import annotations

from datetime import datetime

from fleet_common.events import Event


class LogClock:
    """Follows one reading of the log from a place in it to its end and beyond."""

    def __init__(self) -> None:
        self._latest = 0.0

    def seconds(self, event: Event, now: datetime, *, live: bool) -> float:
        """When an event was told, in seconds since 1970: not later than now, not before what workers told earlier.

        Args:
            event: The next one of the log.
            now: Our own clock, which is synchronised.
            live: Whether it was told while we were listening, so that it is of now.
        """
        ours = now.timestamp()
        if live:
            self._latest = ours
        elif event.seq:
            self._latest = min(max(self._latest, event.seq / 1000), ours)
        else:
            return self.of_producer(event.at, now, live=False)
        return self._latest

    def of_producer(self, at: datetime, now: datetime, *, live: bool) -> float:
        """When a producer told something, in seconds since 1970; its clock never takes that of the log with it.

        Args:
            at: By the producer's clock.
            now: Our own clock.
            live: Whether it was told while we were listening.
        """
        ours = now.timestamp()
        return ours if live else min(max(self._latest, at.timestamp()), ours)
