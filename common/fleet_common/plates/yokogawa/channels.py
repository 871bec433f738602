"""Numbers the channels of a Yokogawa measurement as Bio-Formats does, which is not as the instrument does.

A record names a channel by the instrument's own number, a timeline and an action. Bio-Formats counts, over the actions
of that timeline up to that one, the channels that the settings give to them. Bio-Formats 6.7 knows one action per
channel, the last that names it: a channel that two actions acquire is lost (ome/bioformats#4085), and where the first
acquired channel is not the first one defined the reader fails (ome/bioformats#3977). Newer ones know every action, and
count only channels that were acquired (ome/bioformats#4011). Pure functions, no threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fleet_common.plates.yokogawa.records import Channel, Record


class Acquired(NamedTuple):
    """A channel of an action."""

    timeline: int
    action: int
    number: int


class Numbering:
    """Where each channel of a record stands among the channels of its image, from 0."""

    def __init__(self, acquired: Iterable[Acquired], *, own_action: bool) -> None:
        self._acquired = sorted(acquired, key=lambda one: (one.action, one.number))
        self._own_action = own_action
        self._places: dict[tuple[int, int, int], int | None] = {}

    def place(self, record: Record) -> int | None:
        """The place; None where the settings do not have the channel, so that Bio-Formats mistakes it for another."""
        key = record.timeline, record.action, record.channel
        if key not in self._places:
            self._places[key] = self._counted(Acquired(*key))
        return self._places[key]

    def _counted(self, asked: Acquired) -> int | None:
        before = [one for one in self._acquired if one.timeline == asked.timeline and one.action <= asked.action]
        return next((place for place, one in enumerate(before) if self._same(one, asked)), None)

    def _same(self, one: Acquired, asked: Acquired) -> bool:
        return one.number == asked.number and (one.action == asked.action or not self._own_action)


def numbered_by_6_7(channels: Sequence[Channel], acquired: Iterable[tuple[int, int, int]]) -> Numbering:
    """The numbering of Bio-Formats 6.7: one action per channel.

    Args:
        channels: Of the ``.mrf``.
        acquired: Of the settings; their numbers count the channels of the ``.mrf``, sorted.
    """
    numbers = sorted(channel.number for channel in channels)
    actions = {number: (timeline, action) for timeline, action, number in acquired}
    return Numbering(
        (Acquired(*actions.get(place, (0, 0)), number) for place, number in enumerate(numbers, start=1)),
        own_action=False,
    )


def numbered_by_7(channels: Sequence[Channel], acquired: Iterable[tuple[int, int, int]]) -> Numbering:
    """The numbering of newer ones: one channel per action; arguments as above, but unsorted."""
    numbers = [channel.number for channel in channels]
    return Numbering(
        (Acquired(t, a, numbers[place - 1]) for t, a, place in acquired if place <= len(numbers)),
        own_action=True,
    )
