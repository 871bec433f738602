"""What each source said last, until it is too old to be believed. Safe in any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from fleet_common.fleetmetrics import SOURCES, FleetView, Series

Seen = Mapping[str, Series]
"""Series by the name of their metric."""


class Board:
    """Takes what the eyes see, and gives a scrape what is fresh.

    Args:
        clock: Monotonic, in seconds.
        max_age_seconds: What was put up longer ago is not shown.
        fixed: What never changes.
    """

    def __init__(self, clock: Callable[[], float], max_age_seconds: float, fixed: Seen) -> None:
        self._clock, self._max_age_seconds, self._fixed = clock, max_age_seconds, fixed
        self._lock = threading.Lock()
        self._sources: tuple[str, ...] = ()
        self._seen: dict[str, tuple[float, Seen]] = {}

    def expect(self, source: str) -> None:
        """Show from now on whether this source can be read."""
        if source not in SOURCES:
            raise ValueError(f"{source!r} is none of {SOURCES}")
        self._sources = (*self._sources, source)

    def put(self, source: str, seen: Seen) -> None:
        """Show this, and nothing older of the same source."""
        with self._lock:
            self._seen[source] = (self._clock(), seen)

    def drop(self, source: str) -> None:
        """Show nothing of a source that cannot be read."""
        with self._lock:
            self._seen.pop(source, None)

    def view(self) -> FleetView:
        """Everything that is fresh."""
        with self._lock:
            now = self._clock()
            fresh = {name: seen for name, (at, seen) in self._seen.items() if now - at <= self._max_age_seconds}
        up: Series = {(source,): float(source in fresh) for source in self._sources}
        merged = {name: series for seen in fresh.values() for name, series in seen.items()}
        return FleetView({**self._fixed, **merged, "source_up": up})
