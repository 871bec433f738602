"""The metrics of ``omero-fleet notify``; ``docs/reference/metrics.md`` is made from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry

from fleet_common.instruments import Instruments

CHANNELS: Final = ("webhook", "mail")
RESULTS: Final = ("sent", "failed", "dropped")


class NotifyMetrics(Instruments):
    """The metrics of one process that notifies.

    Args:
        registry: Where to put them; a new one by default.
        channels: Which it has.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, channels: Iterable[str] = CHANNELS) -> None:
        super().__init__(registry)
        self._notifications = self._counter(
            "notifications", "Notes sent and dropped, and messages that failed.", "channel", "result"
        )
        self._oldest = self._gauge(
            "notifications_oldest_seconds", "For how long the oldest note has waited to be sent.", "channel"
        )
        self._log_read = self._gauge("notify_log_read", "1 while the event log is read to its end, 0 while it is not.")
        for channel in channels:
            self._oldest.labels(channel)
            for result in RESULTS:
                self._notifications.labels(channel, result)

    def know(self, channel: str, oldest_seconds: Callable[[], float]) -> None:
        """Ask a channel for its oldest note at every scrape."""
        self._oldest.labels(channel).set_function(oldest_seconds)

    def know_log(self, is_read: Callable[[], bool]) -> None:
        """Ask at every scrape whether the event log is read; 0 before."""
        self._log_read.set_function(is_read)

    def count(self, channel: str, result: str, number: int = 1) -> None:
        """Count what became of notes or a message."""
        self._notifications.labels(channel, result).inc(number)
