"""Whose files a worker sends first: those of the request that has the fewest left.

So requests end their uploads one after the other and the server begins with the first while the others are still sent,
and a single image does not wait for a plate. The request that came first always has one file in flight, whatever comes
after it. Threading: safe in any thread; requests wait on events of their own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Place:
    """A request in the order.

    Attributes:
        number: Later ones have higher numbers.
        left: How many of its files are not begun yet.
        changed: Set when it may have more files in flight than before, or one of them has ended.
    """

    number: int
    left: int
    changed: threading.Event = field(default_factory=threading.Event)


class UploadOrder:
    """The requests of one worker whose files are being sent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: list[Place] = []
        self._number = 0

    def enter(self, files: int) -> Place:
        """Take a place for a request of so many files."""
        with self._lock:
            self._number += 1
            place = Place(self._number, files)
            self._places.append(place)
        return place

    def room(self, place: Place, most: int) -> int:
        """How many files of a request that has some left may be in flight now.

        Args:
            place: Of the request.
            most: How many there may be in any case.
        """
        with self._lock:
            if place is min(self._places, key=lambda one: (one.left, one.number)):
                return most
            return 1 if place is self._places[0] else 0

    def begin(self, place: Place) -> None:
        """One more file of a request is begun; after the last the others may go on."""
        place.left -= 1
        if not place.left:
            self.leave(place)

    def leave(self, place: Place) -> None:
        """Give the place up; may be called again."""
        with self._lock:
            if place in self._places:
                self._places.remove(place)
            for one in self._places:
                one.changed.set()
