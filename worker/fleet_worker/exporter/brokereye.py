"""How full the broker's queues are, by one question to its management API. Threading: one thread looks, any may ask."""

from __future__ import annotations

from collections.abc import Callable, Collection

from fleet_common.broker.overview import Overview
from fleet_worker.exporter.board import Seen
from fleet_worker.exporter.views import of_overview


class BrokerEye:
    """Looks at all queues at once, and remembers what others ask for.

    Args:
        ask: Asks the management API.
        lanes: The lanes of the settings.
    """

    def __init__(self, ask: Callable[[], Overview], lanes: Collection[str]) -> None:
        self._ask, self._configured = ask, tuple(lanes)
        self._found: Overview | None = None

    def look(self) -> Seen:
        """The queues.

        Raises:
            BrokerFailure: The API does not answer, or this user may not ask.
        """
        # Until it answers nobody knows.
        self._found = None
        self._found = found = self._ask()
        return of_overview(found, self._configured)

    def lanes(self) -> tuple[str, ...]:
        """The lanes of the settings, and those that were declared."""
        found = self._found
        return tuple(sorted({*self._configured, *(lane for lane, _ in (found.lanes if found else ()))}))

    def dead(self) -> int | None:
        """How many dead letters there are; None while nobody knows."""
        found = self._found
        return None if found is None else found.dead
