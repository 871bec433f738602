"""What is submitted during a soak, and what must become of it. Pure: the same seed and size give the same wishes."""

from __future__ import annotations

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

LANES: Final = ("demo", "hcs", "confocal")
PRODUCERS: Final = (("demo", "hcs"), ("confocal", "hcs"))
"""The lanes of each of the two producers: they share one."""
OWNERS: Final = (
    ("alice", "screening"),
    ("alice", "private-lab"),
    ("bob", "screening"),
    ("carol", "private-lab"),
    ("dave", "other"),
)
FORBIDDEN: Final = "Dataset:+name:forbidden"
ALLOWED_TARGETS: Final = ("Dataset:+name:soak *", "Screen:+name:soak *", "Dataset:id:*")
NO_SUCH_DATASET: Final = "Dataset:id:999999999"
_DATASETS: Final = 5
_SCREENS: Final = 3
_BUSY_PART: Final = 0.85
"""All is submitted in this part of the time, so that the last faults still meet work."""
_LATER_SECONDS: Final = (20.0, 120.0)
_PRIORITIES: Final = (("urgent", 1), ("normal", 7), ("bulk", 2))


class Sort(enum.StrEnum):
    """What a request is about."""

    IMAGE = "image"
    FILES = "image of several files"
    PLATE = "plate"
    EMPTY_FILE = "empty file"
    UNKNOWN_FORMAT = "unknown format"
    FORBIDDEN_TARGET = "target not allowed"
    NEVER_FITS = "manifest that never fits"
    OWNER_REFUSED = "owner refused"
    OWNER_UNKNOWN = "owner unknown"
    NO_TARGET = "target not found"


GOOD: Final = (Sort.IMAGE, Sort.FILES, Sort.PLATE)
REASONS: Final[Mapping[Sort, str]] = MappingProxyType(
    {
        Sort.EMPTY_FILE: "file-empty",
        Sort.UNKNOWN_FORMAT: "unknown-format",
        Sort.FORBIDDEN_TARGET: "not-allowed",
        Sort.NEVER_FITS: "attempts-used-up",
        Sort.OWNER_REFUSED: "owner-refused",
        Sort.OWNER_UNKNOWN: "owner-unknown",
        Sort.NO_TARGET: "target-not-found",
    }
)
"""Why each bad sort must be dead."""
BY_HAND: Final = frozenset({Sort.EMPTY_FILE, Sort.NEVER_FITS})
"""What ``omero-fleet submit`` refuses to send; a producer with a program of its own might send it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One submission.

    Attributes:
        number: From 0, in order of time.
        at_seconds: After the start of the soak.
        sort: What it is about.
        producer: 0 or 1.
        lane: One of that producer's.
        user: Who shall own the data.
        group: Group of the data.
        target: In OMERO's grammar.
        priority: Class of the lane.
        same_as: The number of the wish whose files are submitted once more; None for files of its own.
        size: Images: pixels in x and y. Plates: wells.
    """

    number: int
    at_seconds: float
    sort: Sort
    producer: int
    lane: str
    user: str
    group: str
    target: str
    priority: str
    same_as: int | None = None
    size: int = 64

    @property
    def reason(self) -> str | None:
        """Why it must be dead; None for one that must be imported."""
        return REASONS.get(self.sort)

    @property
    def origin(self) -> int:
        """The number of the wish whose files these are."""
        return self.number if self.same_as is None else self.same_as


def make_wishes(seed: int, count: int, duration_seconds: float) -> tuple[Wish, ...]:
    """All submissions of a soak, in order of time.

    Args:
        seed: The same gives the same.
        count: How many; at least 12 hold every kind that there is but some of the bad ones.
        duration_seconds: Of the soak.
    """
    chance = random.Random(f"wishes {seed}")  # noqa: S311  repeatable on purpose
    twice = round(count * 0.1)
    first = [_wish(chance, sort, duration_seconds) for sort in _sorts(chance, count - twice)]
    ordered = sorted(first, key=lambda wish: wish.at_seconds)
    numbered = [replace(wish, number=number) for number, wish in enumerate(ordered)]
    good = [wish for wish in numbered if wish.reason is None]
    repeated = [_again(chance, wish) for wish in chance.sample(good, min(twice, len(good)))]
    return _in_order([*numbered, *repeated])


def _sorts(chance: random.Random, count: int) -> Sequence[Sort]:
    """So many of each, whatever the chance; in any order."""
    bad, files, plates = round(count * 0.14), round(count * 0.12), round(count * 0.1)
    sorts = [list(REASONS)[number % len(REASONS)] for number in range(bad)]
    sorts += [Sort.FILES] * files + [Sort.PLATE] * plates
    sorts += [Sort.IMAGE] * (count - len(sorts))
    chance.shuffle(sorts)
    return sorts


def _wish(chance: random.Random, sort: Sort, duration_seconds: float) -> Wish:
    producer = chance.randrange(len(PRODUCERS))
    user, group = chance.choice(OWNERS)
    size = chance.randint(2, 8) if sort is Sort.PLATE else chance.choice((32, 64, 64, 64, 512))
    target = f"Dataset:+name:soak {chance.randrange(_DATASETS)}"
    if sort in {Sort.PLATE, Sort.FILES}:
        target = f"Screen:+name:soak {chance.randrange(_SCREENS)}"
    wish = Wish(
        number=0,
        at_seconds=round(chance.uniform(0, duration_seconds * _BUSY_PART), 1),
        sort=sort,
        producer=producer,
        lane=chance.choice(PRODUCERS[producer]),
        user=user,
        group=group,
        target=target,
        priority=chance.choices([name for name, _ in _PRIORITIES], [weight for _, weight in _PRIORITIES])[0],
        size=size,
    )
    return replace(wish, **_SPOILT.get(sort, {}))


_SPOILT: Final[Mapping[Sort, dict[str, Any]]] = MappingProxyType(
    {
        Sort.FORBIDDEN_TARGET: {"target": FORBIDDEN},
        Sort.NO_TARGET: {"target": NO_SUCH_DATASET},
        Sort.OWNER_REFUSED: {"user": "root", "group": "system"},
        Sort.OWNER_UNKNOWN: {"user": "nobody"},
    }
)


def _again(chance: random.Random, wish: Wish) -> Wish:
    """The same files for the same owner, at once or later, by either producer."""
    producer = chance.randrange(len(PRODUCERS))
    later = chance.choice((0.0, chance.uniform(*_LATER_SECONDS)))
    return replace(
        wish,
        number=-1,
        same_as=wish.number,
        at_seconds=round(wish.at_seconds + later, 1),
        producer=producer,
        lane=chance.choice(PRODUCERS[producer]),
    )


def _in_order(wishes: Sequence[Wish]) -> tuple[Wish, ...]:
    """By time, numbered anew; a copy comes behind what it copies."""
    ordered = sorted(wishes, key=lambda wish: (wish.at_seconds, wish.same_as is not None))
    new = {wish.number: number for number, wish in enumerate(ordered) if wish.same_as is None}
    return tuple(
        replace(wish, number=number, same_as=None if wish.same_as is None else new[wish.same_as])
        for number, wish in enumerate(ordered)
    )
