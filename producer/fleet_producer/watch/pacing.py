"""When to look again: pure functions of what the last look has shown and what it cost."""

from __future__ import annotations

from fleet_common.watching import WatchSettings
from fleet_producer.watch.records import Record


def pause_seconds(record: Record, settle_seconds: float, settings: WatchSettings) -> float:
    """Until the next look at a plate that is not at rest.

    Often while it changes, and the less often the longer it did not; but in time for the end of the settle time, so
    that a complete plate waits no longer than it must.

    Args:
        record: After the last look.
        settle_seconds: Of its folder.
        settings: The shortest and the longest pause.
    """
    quiet = record.history.quiet_seconds
    usual = min(max(settings.poll_seconds, quiet / 2), settings.slowest_seconds)
    left = settle_seconds - quiet
    return min(usual, max(left, settings.poll_seconds)) if left > 0 else usual


def away_seconds(failures: int, settings: WatchSettings) -> float:
    """Until the next try after so many failures in a row: twice as long each time, up to the longest pause."""
    return min(settings.poll_seconds * 2.0 ** min(failures - 1, 30), settings.slowest_seconds)


def breath_seconds(worked_seconds: float, settings: WatchSettings) -> float:
    """How long to do nothing after so much work, so that work is no more than ``busy_percent`` of the time."""
    return worked_seconds * (100.0 / settings.busy_percent - 1.0)
