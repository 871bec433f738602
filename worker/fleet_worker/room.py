"""How many requests a worker may have in work, and how many it has. Safe in any thread."""

from __future__ import annotations

import threading


class Room:
    """Counts what is in work.

    Args:
        places: How many requests at once.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._used = 0
        self._changed = threading.Condition()

    @property
    def used(self) -> int:
        """How many places are taken."""
        return self._used

    def take(self, timeout_seconds: float, *, alone: bool = False) -> bool:
        """Take a place; False when there was none in time.

        Args:
            timeout_seconds: How long to wait.
            alone: Wait until no other place is taken.
        """
        limit = 1 if alone else self._places
        with self._changed:
            if not self._changed.wait_for(lambda: self._used < limit, timeout_seconds):
                return False
            self._used += 1
            return True

    def give_back(self) -> None:
        """Free a place."""
        with self._changed:
            self._used -= 1
            self._changed.notify_all()

    def wait_empty(self, timeout_seconds: float) -> bool:
        """Wait until no place is taken; False when it is not so in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._used, timeout_seconds)
