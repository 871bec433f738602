"""Who waits for a slot or lock, in the order in which they came, and whom to wake when one is given back.

Role: a slot that was given back is taken again within milliseconds, not at the next look half a second later, and of
the threads of one process only one asks for it: a refused try closes a channel. A word that is lost costs no more than
that look. Neighbours: ``locks`` waits here, ``doorbell`` brings the word. Threading: any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Waiter:
    """One who waits for any of some names."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._woken = threading.Event()
        self._freed = ""

    def wake(self, name: str) -> None:
        """Say that this one was given back."""
        self._freed = name
        self._woken.set()

    def wait(self, seconds: float) -> Sequence[str]:
        """Wait for a word; returns the name that it was about, and all names where none came in time."""
        if not self._woken.wait(seconds):
            return self.names
        self._woken.clear()
        return [self._freed]


class Line:
    """All who wait in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Waiter] = []

    @contextmanager
    def stand(self, names: Sequence[str]) -> Iterator[Waiter]:
        """Wait for any of these inside."""
        waiter = Waiter(names)
        with self._lock:
            self._waiting.append(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiting.remove(waiter)

    def freed(self, name: str) -> None:
        """Wake who has waited longest for this name."""
        with self._lock:
            first = next((waiter for waiter in self._waiting if name in waiter.names), None)
        if first is not None:
            first.wake(name)
