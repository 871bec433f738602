"""Who waits for a slot or lock, in the order in which they came, and whom to wake when one is given back.

Role: a slot that was given back is taken again within milliseconds, not at the next look a second or two later, and of
the threads of one process only one asks for it: a refused try closes a channel. A word that is lost costs no more than
that look, for which only the first in line goes: 32 threads that look for themselves keep the broker busier than all
their imports do. Neighbours: ``locks`` waits here, ``doorbell`` brings the word. Threading: any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Waiter:
    """One who waits for any of some names; made by a line."""

    def __init__(self, line: Line, names: Sequence[str]) -> None:
        self.names = names
        self.words: list[str] = []
        self.looks = False
        self._line = line
        self._woken = threading.Event()

    def wake(self, name: str) -> None:
        """Say that this one was given back; with the line's lock held."""
        self.words.append(name)
        self._woken.set()

    def wait(self, seconds: float, *, look: bool = True) -> Sequence[str]:
        """Wait for a word.

        Args:
            seconds: At most so long.
            look: Whether to look at all names where no word came.

        Returns:
            The names to try: those that words were about; where none came in time all names for the first in line if it
            wants to look, and none for everybody behind.
        """
        self._woken.wait(seconds)
        return self._line.turn(self, look=look)

    def hear(self) -> Sequence[str]:
        """All words that have come; with the line's lock held."""
        words, self.words = self.words, []
        self._woken.clear()
        return words


class Line:
    """All who wait in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Waiter] = []

    @contextmanager
    def stand(self, names: Sequence[str]) -> Iterator[Waiter]:
        """Wait for any of these inside."""
        waiter = Waiter(self, tuple(names))
        with self._lock:
            self._waiting.append(waiter)
        try:
            yield waiter
        finally:
            self._leave(waiter)

    def freed(self, name: str) -> None:
        """Wake who has waited longest for this name, and was not woken for another."""
        with self._lock:
            self._tell(name)

    def turn(self, waiter: Waiter, *, look: bool) -> Sequence[str]:
        """The names that somebody in line is to try now; see :meth:`Waiter.wait`."""
        with self._lock:
            words = waiter.hear()
            first = next(one for one in self._waiting if one.names == waiter.names)
            waiter.looks = look and not words and first is waiter
            return waiter.names if waiter.looks else tuple(dict.fromkeys(words))

    def _leave(self, waiter: Waiter) -> None:
        """Hand on what was not heard; who found something free by looking lets the next one look at once."""
        with self._lock:
            self._waiting.remove(waiter)
            for name in waiter.hear():
                self._tell(name)
            following = next((one for one in self._waiting if one.names == waiter.names), None)
            if waiter.looks and following is not None:
                for name in following.names:
                    following.wake(name)

    def _tell(self, name: str) -> None:
        wanting = [waiter for waiter in self._waiting if name in waiter.names]
        if wanting:
            min(wanting, key=lambda waiter: len(waiter.words)).wake(name)
