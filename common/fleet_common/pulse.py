"""When each request in work last gave a sign of life, so that one that hangs is seen while it hangs.

A sign is a phase that begins, a file or bytes that were sent, a step that the server told. Threading: safe in any
thread; a scrape reads while attempts write.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

from fleet_common.events import Phase


class Pulse:
    """The last signs of all requests that one worker has in work.

    Args:
        clock: Monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[uuid.UUID, tuple[Phase, float]] = {}

    def beat(self, who: uuid.UUID, phase: Phase) -> None:
        """A sign of a request that is in this phase."""
        with self._lock:
            self._last[who] = (phase, self._clock())

    def forget(self, who: uuid.UUID) -> None:
        """The request is not in work any more."""
        with self._lock:
            self._last.pop(who, None)

    def count(self, phase: Phase) -> int:
        """How many requests are in a phase."""
        with self._lock:
            return sum(one is phase for one, _ in self._last.values())

    def silence_seconds(self, phase: Phase) -> float:
        """For how long the most silent request in a phase has given no sign; 0 while none is in it."""
        with self._lock:
            return max((self._clock() - at for one, at in self._last.values() if one is phase), default=0.0)
